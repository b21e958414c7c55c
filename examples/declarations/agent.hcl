# Vault Agent's configuration: a file and a variable in one run, which Vault Agent cannot.
vault {
  address = "https://vault.example:8200"
}

auto_auth {
  method "approle" {
    config = {
      role_id_file_path   = "/run/approle/role-id"
      secret_id_file_path = "/run/approle/secret-id"
    }
  }
}

template {
  destination = "/run/app/app.conf"
  perms       = "0440"
  contents    = <<-EOT
  {{ with secret "secret/data/app" -}}
  user = {{ .Data.data.username }}
  {{- end }}
  EOT
}

env_template "APP_PASSWORD" {
  contents = "{{ with secret \"secret/data/app\" }}{{ .Data.data.password }}{{ end }}"
}

exec {
  command = ["./app", "/run/app/app.conf"]
}
