#!/bin/sh
# Prepares .venv: `scripts/setup.sh base|check|test`. Each level holds the one before it; `test` brings torch.
# Uses apt-get only where that needs no question (root, or sudo without a password); otherwise says in one
# sentence what is missing and how to get it.
set -eu
cd "$(dirname "$0")/.."

level=${1:?usage: scripts/setup.sh base|check|test}
case $level in
  base) extras= ;;
  check) extras='[dev,web]' ;;
  test) extras='[dev,publish,test,traces,train,web]' ;;
  *) echo "scripts/setup.sh: level: '$level', would be base, check or test" >&2; exit 2 ;;
esac
bin=.venv/bin

fail() {
  echo "setup: $*" >&2
  exit 1
}

# Runs apt-get install for the named packages; false where that would need a password or there is no apt.
apt_install() {
  command -v apt-get >/dev/null 2>&1 || return 1
  if [ "$(id -u)" = 0 ]; then as_root=env
  elif sudo -n true >/dev/null 2>&1; then as_root='sudo -n env'
  else return 1
  fi
  echo "setup: apt-get install $*"
  install="apt-get install -y -qq --no-install-recommends $*"
  log=$(mktemp)
  # The package lists may be absent (a container image) or stale, so the second try refreshes them first.
  if $as_root DEBIAN_FRONTEND=noninteractive $install >"$log" 2>&1 </dev/null ||
    { $as_root apt-get update -qq >>"$log" 2>&1 </dev/null &&
      $as_root DEBIAN_FRONTEND=noninteractive $install >>"$log" 2>&1 </dev/null; }; then
    rm -f "$log"
  else
    tail -n 5 "$log" >&2
    rm -f "$log"
    return 1
  fi
}

find_python() {
  for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      echo "$candidate"
      return
    fi
  done
}

# True when .venv has a Python that runs and a pip that it can call.
venv_works() {
  "$bin/python" -m pip --version >/dev/null 2>&1
}

make_venv() {
  python=$(find_python)
  [ -n "$python" ] || fail "Python: none of at least 3.11 on PATH, name one with make PYTHON=/path/to/python3"
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  echo "setup: creating .venv with Python $version"
  "$python" -m venv --clear .venv >/dev/null 2>&1 && venv_works && return
  # Debian splits ensurepip off into python3-venv.
  apt_install "python$version-venv" || apt_install python3-venv || true
  "$python" -m venv --clear .venv >/dev/null 2>&1 && venv_works && return
  "$python" -m virtualenv --clear .venv >/dev/null 2>&1 && venv_works && return
  rm -rf .venv
  fail "Python $version cannot create virtual environments here: as root run" \
    "'apt-get install python3-venv' (Debian, Ubuntu) or 'pip install --user virtualenv', then make again"
}

# opencv-python's wheel leaves libGL, glib and xcb to the system.
check_opencv() {
  "$bin/python" -c 'import cv2' 2>/dev/null && return
  apt_install libgl1 libglib2.0-0 libxcb1 || true
  reason=$("$bin/python" -c 'import cv2' 2>&1 | tail -n 1) || true
  "$bin/python" -c 'import cv2' 2>/dev/null ||
    fail "import cv2: $reason; as root run 'apt-get install libgl1 libglib2.0-0 libxcb1', then make again"
}

# The builder of TensorRT for RTX runs without a GPU; there are no wheels of it for every Python and system.
install_rtx() {
  "$bin/python" -m pip install -qq --disable-pip-version-check --constraint constraints.txt tensorrt-rtx \
    >/dev/null 2>&1 || echo "setup: tensorrt-rtx cannot be installed here, so the tests that build with it skip"
}

venv_works || make_venv
echo "setup: installing the packages of level '$level' into .venv"
"$bin/python" -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable ".$extras"
if [ "$level" = test ]; then install_rtx; fi
check_opencv
