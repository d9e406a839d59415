#!/usr/bin/env bash
# Starts Ray on a worker machine of cluster.local.yaml; the arguments are those of `ray start`.
#
# `ray down` stops the head only. A raylet that has not heard from its head for 15 s (60 by default) ends, but leaves its
# agents and log monitor behind for minutes. So a watcher stays, and stops the rest when the raylet is gone. Should it
# have been the network, the head starts Ray here again: the lock keeps the watcher from stopping what is being started.
set -euo pipefail
lock=~/.ray/start_worker.lock
mkdir -p ~/.ray
ray stop
ulimit -n "$(ulimit -H -n)"  # Ray opens many files: as many as this machine allows
RAY_gcs_rpc_server_reconnect_timeout_s=15 flock --close "$lock" ray start --disable-usage-stats "$@"
raylet=$(pgrep --newest --exact raylet)
setsid bash -c "tail --pid=$raylet -f /dev/null; flock --close $lock bash -c 'pgrep --exact raylet || ray stop --force'" \
  </dev/null >/dev/null 2>&1 &
