#!/bin/sh
# Gives Kibana's built-in user its password; the shipper a role and a user that can write logs-*, read it for comparing,
# and no more than `shipper setup` needs beside; and Grafana one that can read logs-*. Safe to repeat. Needs curl, which
# Elasticsearch's image has.
set -eu

url=${ELASTICSEARCH_URL:-http://elasticsearch:9200}

# Credentials and bodies come in on standard input, so that no process list shows a password.
put() {
    printf 'user = "%s:%s"\n' "${ELASTIC_USER:-elastic}" "$ELASTIC_PASSWORD" >"$config"
    curl --silent --show-error --fail-with-body --retry 5 --retry-connrefused --config "$config" \
        --request PUT --header 'Content-Type: application/json' --data-binary @- "$url$1"
    echo
}

umask 077
config=$(mktemp)
trap 'rm -f "$config"' EXIT
put /_security/user/kibana_system/_password <<BODY
{"password": "$KIBANA_PASSWORD"}
BODY
put /_security/role/shipper <<'BODY'
{
  "cluster": ["monitor", "manage_index_templates", "manage_ilm"],
  "indices": [
    {"names": ["logs-*"], "privileges": ["auto_configure", "create_doc", "index", "view_index_metadata", "read"]}
  ]
}
BODY
put /_security/user/shipper <<BODY
{"password": "$SHIPPER_PASSWORD", "roles": ["shipper"], "full_name": "Log shipper"}
BODY
put /_security/role/logs_reader <<'BODY'
{
  "cluster": ["monitor"],
  "indices": [{"names": ["logs-*"], "privileges": ["read", "view_index_metadata"]}]
}
BODY
put /_security/user/grafana <<BODY
{"password": "$GRAFANA_PASSWORD", "roles": ["logs_reader"], "full_name": "Grafana"}
BODY
echo "Users and roles are in place."
