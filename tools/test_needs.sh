#!/usr/bin/env bash
# What the tests need beside Python packages: Chromium for the pages, Java 17 and Maven for Neo4j.
# Installs what is missing where it may (root on Debian), and otherwise says what to install.
set -euo pipefail

has_java() {
    local version
    version=$(java -version 2>&1 | sed -nE '1s/.*"([0-9]+).*/\1/p') || return 1
    [ -n "$version" ] && [ "$version" -ge 17 ]
}

missing=()
command -v chromium >/dev/null || missing+=(chromium)
has_java || missing+=(openjdk-17-jdk-headless)
command -v mvn >/dev/null || missing+=(maven)
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" = 0 ] && [ -f /etc/debian_version ] && command -v apt-get >/dev/null; then
    echo "Installing what the tests need: ${missing[*]}" >&2
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
    exit 0
fi
cat >&2 <<MESSAGE
The tests need programs that are not installed, and may not install them here: ${missing[*]}
Debian: sudo apt-get install ${missing[*]}
Elsewhere: Chromium as 'chromium' on the PATH, Java 17 or later (java), Maven (mvn).
MESSAGE
exit 1
