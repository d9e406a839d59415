#!/usr/bin/env bash
# Hosts on one machine, for `ray up` to start a cluster on. Each is a set of namespaces (network, PID, mount, UTS, IPC)
# with a home, /tmp, /dev/shm, host keys and sshd of its own; host 0 is the launcher, where a person would sit. A bridge
# in the launcher's namespace joins them; nothing is put in the root network namespace and no route leaves the machine.
#
#   up N          the launcher (10.77.0.1) and hosts 1..N (10.77.0.11 …)
#   on K CMD…     run CMD on host K, without ssh
#   kill K        SIGKILL the init of host K, so that every process on it dies
#   restore K     boot host K again: the same home and host keys, an empty /tmp, no Ray
#   down          kill all hosts; nothing is left but the files in $HOSTS_STATE
#
# Needs root, unshare, nsenter, ip, sshd and rsync. $HOSTS_STATE holds the hosts' disks; its folder `shared` is
# /srv/shared on every host, as NFS would be. The folders in $HOSTS_VISIBLE can be read in every host, those in
# $HOSTS_HIDDEN in the launcher alone.
set -euo pipefail

STATE=${HOSTS_STATE:?}
VISIBLE=${HOSTS_VISIBLE:-}
HIDDEN=${HOSTS_HIDDEN:-}
NET=10.77.0
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
SELF=$(readlink -f "$0")

die() { echo "hosts.sh: $*" >&2; exit 1; }
name_of() { if [ "$1" = 0 ]; then echo launcher; else echo "host$1"; fi; }
address_of() { if [ "$1" = 0 ]; then echo "$NET.1"; else echo "$NET.$((10 + $1))"; fi; }
disk_of() { echo "$STATE/$(name_of "$1")"; }

# A process is known by its id and its start time: ids are used again.
start_time_of() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
init_of() {
  local pid started
  read -r pid started 2>/dev/null < "$(disk_of "$1")/pid" || return 1
  [ -n "$started" ] && [ "$(start_time_of "$pid")" = "$started" ] && echo "$pid"
}
kill_init() { kill -9 "$1"; while [ -d "/proc/$1" ]; do sleep 0.1; done; }

# Nothing of the caller's environment reaches a host.
BARE_ENV=(env -i HOME=/root USER=root LOGNAME=root SHELL=/bin/bash LANG=C.UTF-8 TERM=dumb PATH="$PATH")

make_disk() {  # host, number of hosts
  local disk i; disk=$(disk_of "$1")
  mkdir -p "$disk"/home/.ssh "$disk"/tmp "$disk"/etc-ssh
  chmod 700 "$disk/home" "$disk/home/.ssh"; chmod 1777 "$disk/tmp"
  cp /etc/skel/.bashrc /etc/skel/.profile "$disk/home/"
  name_of "$1" > "$disk/hostname"
  # As Debian's installer writes it: a host's own name is a loopback address.
  { echo "127.0.0.1 localhost"; echo "127.0.1.1 $(name_of "$1")"
    for i in $(seq 0 "$2"); do [ "$i" = "$1" ] || echo "$(address_of "$i") $(name_of "$i")"; done; } > "$disk/hosts"
  if [ "$1" = 0 ]; then
    ssh-keygen -q -t ed25519 -N '' -C launcher -f "$disk/home/.ssh/id_ed25519"
    return
  fi
  install -m 600 "$(disk_of 0)/home/.ssh/id_ed25519.pub" "$disk/home/.ssh/authorized_keys"
  ssh-keygen -q -t ed25519 -N '' -C "host$1" -f "$disk/etc-ssh/ssh_host_ed25519_key"
  printf '%s\n' "Port 22" "HostKey /etc/ssh/ssh_host_ed25519_key" "PermitRootLogin prohibit-password" \
    "PasswordAuthentication no" "UsePAM no" "PrintMotd no" > "$disk/etc-ssh/sshd_config"
}

mount_visible() {  # host, and whether this is before or after /root and /tmp are replaced
  local i=0 folder folders=$VISIBLE
  [ "$1" != 0 ] || folders="$HIDDEN $VISIBLE"
  for folder in $folders; do
    case $2 in
      before) mkdir -p "/srv/visible$i"; mount --bind "$folder" "/srv/visible$i" ;;
      after) mkdir -p "$folder"; mount --bind "/srv/visible$i" "$folder"; mount -o remount,bind,ro "$folder" ;;
    esac
    i=$((i + 1))
  done
}

__init() {  # PID 1 of host $1
  local host=$1 disk folder; disk=$(disk_of "$host")
  hostname "$(name_of "$host")"
  mount -t tmpfs -o mode=755 tmpfs /srv; mkdir -p /srv/disk /srv/shared
  mount --bind "$disk" /srv/disk
  mount --bind "$STATE/shared" /srv/shared
  mount_visible "$host" before
  if [ "$host" != 0 ]; then for folder in $HIDDEN; do mount -t tmpfs tmpfs "$folder"; done; fi
  mount --bind /srv/disk/tmp /tmp; mount --bind /srv/disk/home /root
  mount_visible "$host" after
  mount --bind /srv/disk/hosts /etc/hosts; mount --bind /srv/disk/hostname /etc/hostname
  mount --bind /dev/null /etc/resolv.conf
  mount -t tmpfs -o mode=755 tmpfs /run; mkdir -p /run/sshd /run/lock
  mount -t tmpfs -o mode=1777,size=2g tmpfs /dev/shm
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts /dev/pts
  ip link set lo up
  if [ "$host" = 0 ]; then
    ip link add br0 type bridge; ip addr add "$(address_of 0)/24" dev br0; ip link set br0 up
  else
    for _ in $(seq 100); do ip link show eth0 >/dev/null 2>&1 && break; sleep 0.1; done
    ip addr add "$(address_of "$host")/24" dev eth0; ip link set eth0 up
    ip route add default via "$(address_of 0)"  # Ray takes the address of the default route, which leads nowhere
    mount --bind /srv/disk/etc-ssh /etc/ssh
    /usr/sbin/sshd -E /srv/disk/sshd.log
  fi
  : > /srv/disk/ready
  # bash reaps orphans: Ray daemonises, and zombies would make `ray stop` wait.
  while :; do sleep 86400 & wait $! || true; done
}

boot() {  # host
  local host=$1 disk unshared init= launcher; disk=$(disk_of "$host")
  rm -rf "$disk/ready" "$disk/tmp"; mkdir -m 1777 "$disk/tmp"
  "${BARE_ENV[@]}" HOSTS_STATE="$STATE" HOSTS_VISIBLE="$VISIBLE" HOSTS_HIDDEN="$HIDDEN" \
    setsid unshare --net --pid --ipc --uts --mount --fork --kill-child --mount-proc \
    bash "$SELF" __init "$host" </dev/null >"$disk/init.log" 2>&1 &
  unshared=$!
  for _ in $(seq 100); do
    init=$(cut -d' ' -f1 "/proc/$unshared/task/$unshared/children" 2>/dev/null) && [ -n "$init" ] && break
    sleep 0.1
  done
  [ -n "$init" ] || { cat "$disk/init.log" >&2; die "$(name_of "$host") did not start"; }
  echo "$init $(start_time_of "$init")" > "$disk/pid"
  if [ "$host" != 0 ]; then  # a cable from the launcher's bridge; with a new hardware address peers would not find it
    launcher=$(init_of 0) || die "the launcher is not up"
    nsenter -t "$launcher" -n ip link del "cable$host" 2>/dev/null || true
    nsenter -t "$launcher" -n ip link add "cable$host" type veth \
      peer name eth0 address "$(printf 02:00:00:77:00:%02x "$host")" netns "$init"
    nsenter -t "$launcher" -n ip link set "cable$host" master br0 up
  fi
  for _ in $(seq 200); do [ -e "$disk/ready" ] && return 0; sleep 0.1; done
  cat "$disk/init.log" >&2; die "$(name_of "$host") did not become ready"
}

case "${1:-}" in
  up)
    hosts=${2:?}
    mkdir -p "$STATE/shared"; echo "$hosts" > "$STATE/hosts"
    for host in $(seq 0 "$hosts"); do make_disk "$host" "$hosts"; done
    for host in $(seq 0 "$hosts"); do boot "$host"; done ;;
  on)
    init=$(init_of "$2") || die "$(name_of "$2") is not up"
    shift 2
    "${BARE_ENV[@]}" nsenter -t "$init" -n -p -m -u -i --wd="${HOSTS_FOLDER:-/root}" -- "$@" ;;
  kill) init=$(init_of "$2") || die "$(name_of "$2") is not up"; kill_init "$init" ;;
  restore) init_of "$2" >/dev/null && die "$(name_of "$2") is up"; boot "$2" ;;
  down)
    [ -e "$STATE/hosts" ] || exit 0
    for host in $(seq "$(cat "$STATE/hosts")" -1 0); do init=$(init_of "$host") || continue; kill_init "$init"; done ;;
  __init) __init "$2" ;;
  *) sed -n '2,15p' "$SELF"; exit 2 ;;
esac
