#!/bin/sh
# Makes what a cluster must not share with anybody: a certificate authority, a certificate for each NATS server, passwords.
#
#   sh cluster/prepare.sh [DIRECTORY] [HOST…]
#
# DIRECTORY: default cluster/secrets, which git ignores. HOST: further names or addresses of the servers, beside nats-1,
# nats-2, nats-3, localhost and 127.0.0.1. What is there already is kept: a second run makes only what is missing.
#
#   ca.pem, ca.key            the authority. Nodes need ca.pem (NODE_EXTRA_CA_CERTS); ca.key belongs in a safe
#   nats-1.pem, nats-1.key …  of each server, for clients and routes. Valid for 825 days
#   passwords.env             NATS_…_PASSWORD, the same on every server
#   nats-1.env …              everything that the configuration of this server wants, with the paths of this machine;
#                             NATS_STORE, where the log lies, is /var/lib/nats unless it is set now
set -eu
umask 077

here=$(cd "$(dirname "$0")" && pwd)
directory=${1:-$here/secrets}
[ $# -eq 0 ] || shift
mkdir -p "$directory"
directory=$(cd "$directory" && pwd)
cd "$directory"

command -v openssl >/dev/null || { echo 'error: openssl is not installed; install it and run this again' >&2; exit 2; }

names='DNS:nats-1,DNS:nats-2,DNS:nats-3,DNS:localhost,IP:127.0.0.1'
for host in "$@"; do
  case $host in
    *[!0-9.]*) names="$names,DNS:$host" ;;
    *) names="$names,IP:$host" ;;
  esac
done

key() {
  openssl ecparam -name prime256v1 -genkey -noout -out "$1"
}

if [ ! -s ca.pem ]; then
  key ca.key
  openssl req -x509 -new -key ca.key -sha256 -days 3650 -subj '/CN=Troupe NATS authority' -out ca.pem
fi
# No secret, and nodes run as other users: in a container it is mounted as it is here.
chmod 644 ca.pem

for server in nats-1 nats-2 nats-3; do
  if [ ! -s "$server.pem" ]; then
    key "$server.key"
    # Each end of a route is a client to the other.
    printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n' "$names" >"$server.ext"
    openssl req -new -key "$server.key" -subj "/CN=$server" -out "$server.csr"
    openssl x509 -req -in "$server.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -sha256 -days 825 \
      -extfile "$server.ext" -out "$server.pem" 2>/dev/null
    rm "$server.csr" "$server.ext"
  fi
done

if [ ! -s passwords.env ]; then
  for user in ADMIN SHOP OPERATOR SYS; do
    # NATS reads what begins with a digit as a number.
    echo "NATS_${user}_PASSWORD=p$(openssl rand -hex 20)"
  done >passwords.env
fi

for server in nats-1 nats-2 nats-3; do
  {
    echo "NATS_NAME=$server"
    echo "NATS_STORE=${NATS_STORE:-/var/lib/nats}"
    echo "NATS_CA=$directory/ca.pem"
    echo "NATS_CERT=$directory/$server.pem"
    echo "NATS_KEY=$directory/$server.key"
    cat passwords.env
  } >"$server.env"
done

echo "made in $directory: keep it from others, and ca.key from the servers" >&2
