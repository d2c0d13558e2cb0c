#!/bin/sh
# The tests of the store and the queue also run on the oldest supported server, Debian's package postgresql-15.
# As root on Debian it is added where it is missing, without starting a server of its own; elsewhere, and where Debian
# has a newer version only, those tests are skipped and say so.
set -eu
[ -x /usr/lib/postgresql/15/bin/postgres ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "PostgreSQL 15 is not installed: the tests of the oldest supported server will be skipped"
    exit 0
fi
echo "installing Debian's postgresql-15 for the tests of the oldest supported server"
export DEBIAN_FRONTEND=noninteractive
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] ||
    echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
{ apt-get -qq update && apt-get -qq install -y --no-install-recommends postgresql-15; } >/dev/null 2>&1 ||
    echo "it could not be installed: those tests will be skipped"
