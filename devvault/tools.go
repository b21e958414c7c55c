//go:build tools

// Package devvault pins the Vault server, and the plugins beside it, that
// the tests and the demo run against. Nothing here is imported by, linked into
// or shipped with secretboot. README.md says how it is built.
package devvault

import (
	_ "github.com/hashicorp/vault"
	_ "github.com/hashicorp/vault-plugin-auth-kubernetes/cmd/vault-plugin-auth-kubernetes"
	_ "github.com/hashicorp/vault/builtin/credential/aws/cmd/aws"
	_ "github.com/hashicorp/vault/builtin/credential/ldap/cmd/ldap"
	_ "github.com/hashicorp/vault/builtin/logical/totp/cmd/totp"
	_ "github.com/hashicorp/vault/plugins/database/postgresql/postgresql-database-plugin"
)
