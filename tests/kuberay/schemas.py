"""What KubeRay takes of the fields that kuberay/ uses, and nothing else: other names are refused, as kubectl does.

Written by what helm-chart/kuberay-operator/crds of ray-project/kuberay says in version 1.7 (ray.io/v1), and by what its
operator checks besides (ray-operator/controllers/ray/utils/validation.go).
"""

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "minLength": 1}
YES_OR_NO: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NAME: Schema = {"type": "string", "pattern": r"^[a-z]([-a-z0-9]*[a-z0-9])?$", "maxLength": 47}
"""RFC 1035, and short enough for the names that KubeRay makes of it."""
QUANTITY: Schema = {"anyOf": [COUNT, {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|[KMGT]i?)?$"}]}


def fields(*required: str, **properties: Schema) -> Schema:
    """Return the schema of an object with these fields."""
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def list_of(entry: Schema) -> Schema:
    """Return the schema of a list that is not empty."""
    return {"type": "array", "items": entry, "minItems": 1}


def map_to(value: Schema) -> Schema:
    """Return the schema of an object with any fields."""
    return {"type": "object", "additionalProperties": value}


RESOURCES = fields(requests=map_to(QUANTITY), limits=map_to(QUANTITY))
CONTAINER_SECURITY = fields(
    allowPrivilegeEscalation=YES_OR_NO, capabilities=fields(add=list_of(TEXT), drop=list_of(TEXT))
)
POD_SECURITY = fields(
    runAsNonRoot=YES_OR_NO,
    runAsUser=COUNT,
    runAsGroup=COUNT,
    fsGroup=COUNT,
    fsGroupChangePolicy={"enum": ["Always", "OnRootMismatch"]},
    seccompProfile=fields("type", type={"enum": ["RuntimeDefault"]}),
)
PROBE = fields(
    httpGet=fields("port", path=TEXT, port={"type": ["string", "integer"]}),
    initialDelaySeconds=COUNT,
    periodSeconds=COUNT,
    timeoutSeconds=COUNT,
    failureThreshold=COUNT,
)
ENV = fields(
    "name", name=TEXT, value={"type": "string"}, valueFrom=fields(secretKeyRef=fields("key", name=NAME, key=TEXT))
)
CONTAINER = fields(
    "name",
    name=NAME,
    image=TEXT,
    securityContext=CONTAINER_SECURITY,
    env=list_of(ENV),
    ports=list_of(fields("containerPort", name=NAME, containerPort={"type": "integer"})),
    readinessProbe=PROBE,
    livenessProbe=PROBE,
    resources=RESOURCES,
    volumeMounts=list_of(fields("mountPath", "name", mountPath=TEXT, name=NAME)),
)
POD = fields(
    spec=fields(
        "containers",
        # With autoscaling, in its version 2, and of a submitter: Never, or nothing.
        restartPolicy={"enum": ["Never"]},
        automountServiceAccountToken=YES_OR_NO,
        securityContext=POD_SECURITY,
        containers=list_of(CONTAINER),
        volumes=list_of(fields("name", name=NAME, persistentVolumeClaim=fields("claimName", claimName=NAME))),
    )
)
START: Schema = map_to({"type": "string"})
"""Flags of ray start: all values are texts."""
CLUSTER = fields(
    "headGroupSpec",
    "rayVersion",  # which tokens need
    rayVersion={"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
    authOptions=fields(mode={"enum": ["disabled", "token"]}),
    enableInTreeAutoscaling=YES_OR_NO,
    autoscalerOptions=fields(
        version={"enum": ["v1", "v2"]},
        idleTimeoutSeconds=COUNT,
        securityContext=CONTAINER_SECURITY,
        resources=RESOURCES,
    ),
    headGroupSpec=fields("template", rayStartParams=START, template=POD),
    workerGroupSpecs=list_of(
        fields(
            *("groupName", "maxReplicas", "minReplicas", "template"),
            groupName=NAME,
            replicas=COUNT,
            minReplicas=COUNT,
            maxReplicas=COUNT,
            rayStartParams=START,
            template=POD,
        )
    ),
)


def manifest(version: str, spec: Schema) -> Schema:
    """Return the schema of a whole object of Kubernetes."""
    required = ("apiVersion", "kind", "metadata", "spec")
    return fields(*required, apiVersion={"const": version}, kind=TEXT, metadata=fields("name", name=NAME), spec=spec)


SCHEMAS: dict[str, Schema] = {
    "RayService": manifest(
        "ray.io/v1",
        fields(
            "rayClusterConfig",
            upgradeStrategy=fields(type={"enum": ["NewCluster", "NewClusterWithIncrementalUpgrade", "None"]}),
            excludeHeadPodFromServeSvc=YES_OR_NO,
            serveConfigV2=TEXT,
            rayClusterConfig=CLUSTER,
        ),
    ),
    "RayJob": manifest(
        "ray.io/v1",
        fields(
            "rayClusterSpec",
            entrypoint=TEXT,
            shutdownAfterJobFinishes=YES_OR_NO,
            ttlSecondsAfterFinished=COUNT,
            submitterPodTemplate=POD,
            rayClusterSpec=CLUSTER,
        ),
    ),
    "PersistentVolumeClaim": manifest(
        "v1",
        fields(accessModes=list_of(TEXT), storageClassName=NAME, resources=fields(requests=fields(storage=QUANTITY))),
    ),
}
"""By kind."""
