#!/bin/sh
# Makes the certificates that are here. They are valid for a hundred years.
set -eu
cd "$(dirname "$0")"

# An authority: NAME.
authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 \
    -subj "/CN=$1" -keyout "$1.key" -out "$1.crt" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
}

# A certificate: NAME, AUTHORITY, days.
certificate() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
    -keyout "$1.key" -out request.pem
  printf 'subjectAltName=DNS:%s\nbasicConstraints=critical,CA:FALSE\n' "$1" > extensions
  openssl x509 -req -in request.pem -CA "$2.crt" -CAkey "$2.key" -days "$3" \
    -extfile extensions -out "$1.crt"
  rm request.pem extensions
}

authority authority      # trusted by the servers
authority stranger       # trusted by nobody
certificate one.test authority 36500
certificate two.test authority 36500
certificate alice authority 36500    # a client
certificate bob authority 36500      # another one
certificate mallory stranger 36500   # a client of another authority

# Clients that are their own authority: one that has expired, and one of X.509 version 1.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 \
  -subj /CN=self -keyout self.key -out self.crt -addext basicConstraints=critical,CA:FALSE
openssl req -new -key self.key -subj /CN=old -out request.pem
openssl x509 -req -in request.pem -key self.key -days 36500 -out old.crt
echo basicConstraints=critical,CA:FALSE > extensions
openssl x509 -req -in request.pem -key self.key -days 0 -extfile extensions -out expired.crt
rm request.pem extensions authority.key stranger.key
