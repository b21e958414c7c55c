# consul-template's configuration: the token of an agent, a template in a file beside it, a child.
vault {
  address                = "https://vault.example:8200"
  vault_agent_token_file = "/run/vault/token"
}

template {
  source      = "app.ctmpl"
  destination = "/run/app/app.conf"
  command     = ["./check", "/run/app/app.conf"]
}

exec {
  command      = ["./app", "/run/app/app.conf"]
  kill_timeout = "4s"
  env {
    denylist = ["AWS_*"]
  }
}
