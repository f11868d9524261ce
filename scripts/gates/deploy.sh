#!/bin/sh
# The form of the files in deploy/: compose by compose-spec, Kubernetes by its published schemas,
# the unit by systemd-analyze. Nothing is started.
#
#   pip install --target TOOLS compose-spec kubernetes-validate   # 22 MB of schemas: not in [dev]
#   PYTHONPATH=TOOLS PYTHON=... scripts/gates/deploy.sh
set -eu
here=$(cd "$(dirname "$0")/../../deploy" && pwd)
cd "$here"
"${PYTHON:-python3}" - <<'CHECK'
import kubernetes_validate
import yaml
from compose_spec import PyCompose

compose = PyCompose.from_yaml(open("compose.yaml").read())
compose.validate()
print("compose.yaml:", ", ".join(sorted(compose.service_names())))
for one in yaml.safe_load_all(open("kubernetes.yaml")):
    version = kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)
    print(f"kubernetes.yaml: {one['kind']} as of {version}")
CHECK
unit=$(mktemp -d)
trap 'rm -r "$unit"' EXIT
# The program is not installed where this runs.
sed 's#/opt/hilum/bin/hilum#/bin/true#' hilum.service >"$unit/hilum.service"
systemd-analyze verify "$unit/hilum.service"
echo "hilum.service: valid"
