# What start.sh --secure adds to a broker: sourced, not run. Keys, certificates and passwords are made here, and worth nothing
# elsewhere.

# secure_node NODE USERS: after its server.properties were written, before it is formatted.
secure_node() {
  local sasl ssl listeners users
  IFS=, read -ra users <<<"$2"
  read -r sasl ssl < <(free_ports 2)
  listeners=SASL_SSL://127.0.0.1:$sasl,SSL://127.0.0.1:$ssl
  make_keys "$1/security" "${users[@]}"
  sed -i -E -e "s#^(advertised\.)?listeners=.*#&,$listeners#" \
    -e "s#^listener\.security\.protocol\.map=.*#&,SASL_SSL:SASL_SSL,SSL:SSL#" "$1/server.properties"
  # Whoever comes over the plain listener, on loopback, is ANONYMOUS and may do everything. Everybody else: what an ACL says.
  cat >>"$1/server.properties" <<PROPERTIES
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:ANONYMOUS
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.ssl.ssl.client.auth=required
ssl.principal.mapping.rules=RULE:^CN=([^,]+).*\$/\$1/,DEFAULT
ssl.keystore.type=PEM
ssl.keystore.location=$1/security/broker.keystore.pem
ssl.truststore.type=PEM
ssl.truststore.location=$1/security/ca.pem
PROPERTIES
  tell_clients "$1/security" "127.0.0.1:$sasl" "127.0.0.1:$ssl"
}

# make_keys DIRECTORY USER...: an authority, key and certificate of the broker and of each user, and the users' passwords.
make_keys() {
  local user
  command -v openssl >/dev/null || fail "openssl was not found." "Install it (Debian: apt-get install openssl) and run this again."
  mkdir -p -m 700 "$1"
  (
    cd "$1"
    shift
    umask 077
    openssl req -x509 "${new_key[@]}" -days 30 -keyout ca.key -out ca.pem -subj "/CN=throw-away authority" \
      -addext keyUsage=critical,keyCertSign || exit 1
    certify broker "subjectAltName=IP:127.0.0.1,DNS:localhost" || exit 1
    cat broker.key broker.pem >broker.keystore.pem
    for user in "$@"; do
      certify "$user" extendedKeyUsage=clientAuth && openssl rand -hex 16 >"$user.password" || exit 1
    done
    rm -f ca.key ca.srl # it lets nobody else in
  ) >"$1/openssl.log" 2>&1 || fail "the certificates could not be made:" "$(tail -5 "$1/openssl.log")"
}
new_key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)

# certify NAME EXTENSION: NAME.key, and NAME.pem signed by the authority.
certify() {
  openssl req "${new_key[@]}" -keyout "$1.key" -out "$1.csr" -subj "/CN=$1" &&
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile <(echo "$2") -out "$1.pem" &&
    rm "$1.csr"
}

# scram_of NODE: sets `scram`: what `format` has to be told to make the users, nothing where there are none.
scram_of() {
  local file
  scram=()
  for file in "$1"/security/*.password; do
    [ ! -f "$file" ] || scram+=(--add-scram "SCRAM-SHA-512=[name=$(basename "$file" .password),password=$(cat "$file")]")
  done
}

# tell_clients DIRECTORY SASL_ADDRESS SSL_ADDRESS: librdkafka's properties by user and way in, to clients.json.
tell_clients() {
  (umask 077 && "$python" - "$@" >"$1/clients.json") <<'PYTHON'
import json, sys
from pathlib import Path
keys, sasl, ssl = Path(sys.argv[1]), *sys.argv[2:]
told = {
    file.stem: {
        "scram": {
            "bootstrap.servers": sasl,
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": file.stem,
            "sasl.password": file.read_text().strip(),
            "ssl.ca.location": f"{keys}/ca.pem",
        },
        "mtls": {
            "bootstrap.servers": ssl,
            "security.protocol": "SSL",
            "ssl.ca.location": f"{keys}/ca.pem",
            "ssl.certificate.location": f"{keys}/{file.stem}.pem",
            "ssl.key.location": f"{keys}/{file.stem}.key",
        },
    }
    for file in sorted(keys.glob("*.password"))
}
print(json.dumps(told, indent=2))
PYTHON
}
