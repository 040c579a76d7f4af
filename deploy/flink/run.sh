#!/usr/bin/env bash
# Starts a Flink session cluster on this machine (one job manager, two task managers), a pool of workers and Beam's job
# server, runs the job on them, and ends them all. README.md beside this says what is needed.
#   FLINK_JOB_SERVER_JAR=beam-runners-flink-2.2-job-server-2.77.0.jar deploy/flink/run.sh --input gs://… --output gs://…
#   deploy/flink/run.sh --cluster-only     starts the cluster, says who registered, and ends it; needs no jar
set -euo pipefail
root="$(cd "$(dirname "$0")/../.." && pwd)"
version="${FLINK_VERSION:-2.2.1}"
home="${FLINK_ENVIRONMENT:-$root/.tools/flink-$version}"
python="${PYTHON:-python3}"
worker_python="${WORKER_PYTHON:-$python}"
boot="${BEAM_BOOT:-$root/.tools/bin/container}"
seconds="${FLINK_START_SECONDS:-90}"

fail() { echo "run.sh: $*" >&2; exit 2; }
command -v java >/dev/null || fail "java is missing: Flink 2 needs Java 17 (Debian: apt-get install openjdk-17-jre-headless)"
cluster_only=""
if [ "${1:-}" = "--cluster-only" ]; then
  cluster_only=1
else
  [ -n "${FLINK_JOB_SERVER_JAR:-}" ] || fail "set FLINK_JOB_SERVER_JAR to Beam's job server for Flink ${version%.*}"
  [ -f "$FLINK_JOB_SERVER_JAR" ] || fail "FLINK_JOB_SERVER_JAR=$FLINK_JOB_SERVER_JAR is not a file"
  FLINK_JOB_SERVER_JAR="$(realpath "$FLINK_JOB_SERVER_JAR")"
  [ -x "$boot" ] || fail "$boot is not a program: tools/install_test_tools.sh builds Beam's boot program, or set BEAM_BOOT"
fi

work="$(mktemp -d "${TMPDIR:-/tmp}/flink-session-XXXXXX")"
started=()
finish() {
  status=$?
  trap - EXIT INT TERM
  for process in "${started[@]}"; do kill "$process" 2>/dev/null || true; done
  sleep 1
  for process in "${started[@]}"; do kill -9 "$process" 2>/dev/null || true; done
  if [ "$status" = 0 ]; then rm -rf "$work"; else echo "run.sh: logs are in $work" >&2; fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

# Flink itself, once: jars alone, in an environment that nothing is imported from.
if [ ! -e "$home/installed" ]; then
  echo "installing Flink $version into $home (once, 300 MB)"
  "$python" -m venv "$home"
  "$home/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "apache-flink-libraries==$version"
  touch "$home/installed"
fi
flink="$(echo "$home"/lib/python3*/site-packages/pyflink)"
classes="$(printf '%s:' "$flink"/lib/*.jar)"

free_port() { "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
rest="$(free_port)" rpc="$(free_port)" pool="$(free_port)"

# What Flink's own scripts would tell the JVM for Java 17.
opens=""
for package in java.lang java.net java.io java.nio java.text java.time java.util java.lang.reflect sun.nio.ch \
  java.util.concurrent java.util.concurrent.atomic java.util.concurrent.locks; do
  opens="$opens --add-opens=java.base/$package=ALL-UNNAMED"
done
opens="$opens --add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED --add-exports=java.base/sun.net.util=ALL-UNNAMED"

mkdir -p "$work/conf" "$work/io"
cat > "$work/conf/config.yaml" <<CONFIG
jobmanager.rpc.address: localhost
jobmanager.rpc.port: $rpc
jobmanager.bind-host: localhost
jobmanager.memory.process.size: ${FLINK_JOB_MANAGER_MEMORY:-1024m}
taskmanager.host: localhost
taskmanager.bind-host: localhost
taskmanager.memory.process.size: ${FLINK_TASK_MANAGER_MEMORY:-2048m}
taskmanager.numberOfTaskSlots: ${FLINK_SLOTS:-2}
parallelism.default: 2
rest.address: localhost
rest.bind-address: localhost
rest.port: $rest
io.tmp.dirs: $work/io
restart-strategy.type: none
CONFIG
cat > "$work/conf/log4j.properties" <<LOG
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
appender.console.name = console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c{1}: %m%n
LOG

# Flink's sizes of a process's memory: JVM parameters on the first line, settings on the second.
memory() {
  java -cp "$classes$flink/bin/bash-java-utils.jar" org.apache.flink.runtime.util.bash.BashJavaUtils "$1" \
    --configDir "$work/conf" 2>>"$work/memory.log" | sed -n 's/^BASH_JAVA_UTILS_EXEC_RESULT://p'
}

# kind of memory, name, class
jvm() {
  local sizes parameters settings
  sizes="$(memory "$1")"
  parameters="$(sed -n 1p <<<"$sizes")" settings="$(sed -n 2p <<<"$sizes")"
  [ -n "$parameters" ] || { cat "$work/memory.log" >&2; exit 1; }
  # shellcheck disable=SC2086 # several words each
  java $parameters $opens "-Dlog4j.configurationFile=file:$work/conf/log4j.properties" -cp "$classes" "$3" \
    --configDir "$work/conf" $settings >"$work/$2.log" 2>&1 &
  started+=("$!")
}

registered() {
  "$python" - "$rest" <<'COUNT' 2>/dev/null || echo 0
import json, sys, urllib.request
url = f"http://localhost:{sys.argv[1]}/overview"
print(json.load(urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5))["taskmanagers"])
COUNT
}

jvm GET_JM_RESOURCE_PARAMS job-manager org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint
jvm GET_TM_RESOURCE_PARAMS task-manager-1 org.apache.flink.runtime.taskexecutor.TaskManagerRunner
jvm GET_TM_RESOURCE_PARAMS task-manager-2 org.apache.flink.runtime.taskexecutor.TaskManagerRunner
SECONDS=0 # those of the installation do not count
until [ "$(registered)" = 2 ]; do
  [ "$SECONDS" -lt "$seconds" ] || { tail -n 20 "$work"/*.log >&2; fail "no two task managers within $seconds seconds"; }
  for process in "${started[@]}"; do
    kill -0 "$process" 2>/dev/null || { tail -n 20 "$work"/*.log >&2; fail "a process of the cluster ended"; }
  done
  sleep 0.5
done
echo "cluster    http://localhost:$rest, two task managers of ${FLINK_SLOTS:-2} slots"
[ -z "$cluster_only" ] || exit 0

# The workers have this program already; boot hands them the job's options.
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1 PATH="$(dirname "$(command -v "$worker_python")"):$PATH" \
  "$worker_python" -m apache_beam.runners.worker.worker_pool_main --service_port="$pool" --container_executable="$boot" \
  >"$work/workers.log" 2>&1 &
started+=("$!")

case "$python" in /*) ;; */*) python="$PWD/$python" ;; esac
cd "$work" # the job server's own files
"$python" -m pipelines.currents_to_mixpanel --runner FlinkRunner --flink_version "${version%.*}" \
  --flink_master "localhost:$rest" --flink_job_server_jar "$FLINK_JOB_SERVER_JAR" --artifacts_dir "$work/artifacts" \
  --environment_type EXTERNAL --environment_config "localhost:$pool" --prepared_workers --parallelism 2 "$@" &
job=$!
# A shell that waits in the foreground would hear nothing until the command ends; this one tells it to cancel the job.
trap 'kill -TERM "$job" 2>/dev/null || true' INT TERM
status=0
wait "$job" || status=$?
while kill -0 "$job" 2>/dev/null; do # wait ends with the signal, the command once the job is cancelled
  status=0
  wait "$job" || status=$?
done
exit "$status"
