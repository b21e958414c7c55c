package vault

import "github.com/secretboot/secretboot/bootstrap/plan"

// refusal is a sentence that Vault or an engine is known to send, and what it
// means. The sentence itself is never shown: it may repeat what was sent.
type refusal struct {
	sentence, why, fix string
	code               plan.Code // 0: as the status says
}

// known gives the first of the refusals that the server's answer holds.
func known(f *fault, list []refusal) (refusal, bool) {
	for _, r := range list {
		if f.says(r.sentence) {
			return r, true
		}
	}
	return refusal{}, false
}

// engineRefusals are what secrets engines say of a refused read or write.
func engineRefusals() []refusal {
	const role = "check the last element of the path, and that the role is at this mount"
	return []refusal{
		{"nknown role", "the engine has no such role", role, plan.CodeConfig},
		{"not allowed by this role", "the engine's role does not allow a name or number that was asked for", "check the arguments against the role's allowed domains, names and users", 0},
		{"not allowed for this role", "the engine's role does not allow what was asked for", "check the arguments against the role", 0},
		{"encryption key not found", "the engine has no such key", "check the last element of the path", plan.CodeConfig},
		{"unknown key", "the engine has no such key", "check the last element of the path", plan.CodeConfig},
		{"failed to find entry for connection", "the engine has no such connection", "check db_name of the role, and that database/config has it", plan.CodeConfig},
		{"message authentication failed", "what was sent is no ciphertext of this key", "check the key's name, the context, and that the ciphertext is whole", plan.CodeData},
		{"invalid ciphertext", "what was sent is no ciphertext", "send what the engine's encryption gave, whole: vault:v1:…, or a later version of the key", plan.CodeData},
		{"missing ciphertext", "no ciphertext was sent", "give it as the argument ciphertext", 0},
		{"issing ip", "no address was sent", "give it as the argument ip", 0},
		{"missing public_key", "no public key was sent", "give it as the argument public_key", 0},
		{"common_name field is required", "no common name was sent", "give it as the argument common_name", 0},
	}
}

// whyIDs is what Vault makes of a wrong role id, a wrong secret id and of none.
const whyIDs = "the role id or the secret id is not valid"

// loginRefusals are what Vault and its auth plugins say of a refused login.
func loginRefusals() []refusal {
	const platform = "compare the role's bound audiences, subject and claims with those of the token; with github-actions, --auth audience=URL (vault.auth.audience) asks for another audience"
	ids := refusal{
		why: whyIDs,
		fix: "check both, the secret id's TTL and number of uses, and that they belong to this mount and namespace",
	}
	var list []refusal
	for _, s := range []string{"invalid role or secret ID", "invalid secret id", "invalid role ID", "failed to validate", "missing secret_id", "missing role_id"} {
		list = append(list, refusal{sentence: s, why: ids.why, fix: ids.fix})
	}
	noLogin := "check vault.auth.mount and VAULT_NAMESPACE"
	return append(list,
		refusal{sentence: "no handler for route", why: "there is no such login there", fix: noLogin},
		refusal{sentence: "unsupported path", why: "there is no such login there", fix: noLogin},
		refusal{sentence: "invalid role name", why: "there is no such role", fix: "check vault.auth.role and vault.auth.mount"},
		refusal{sentence: "could not be found", why: "there is no such role", fix: "check vault.auth.role and vault.auth.mount"},
		refusal{sentence: "entry for role", why: "there is no such role", fix: "check vault.auth.role and vault.auth.mount"},
		refusal{sentence: "missing role", why: "the role is missing", fix: "set vault.auth.role"},
		refusal{sentence: "service account name not authorized", why: "the role does not allow this service account", fix: "check bound_service_account_names of the role"},
		refusal{sentence: "namespace not authorized", why: "the role does not allow this Kubernetes namespace", fix: "check bound_service_account_namespaces of the role"},
		refusal{sentence: "service account unauthorized", why: "Kubernetes does not know this service account's token", fix: "see that the account was not deleted, and that the mount is for this cluster"},
		refusal{sentence: "invalid audience", why: "the platform's token is for another audience", fix: platform},
		refusal{sentence: "audience claim does not match", why: "the platform's token is for another audience", fix: platform},
		refusal{sentence: "invalid subject", why: "the platform's token is for another subject", fix: platform},
		refusal{sentence: "error validating claims", why: "the platform's token does not fit the role", fix: platform},
		refusal{sentence: "error validating token", why: "the platform's token is not valid here", fix: "check that the mount trusts the token's issuer; the audience and the clocks"},
		refusal{sentence: "error verifying token", why: "the platform's token is not valid here", fix: "check that the mount trusts the token's issuer; the audience and the clocks"},
		refusal{sentence: "no known key successfully validated", why: "the platform's token is signed by a key that the mount does not know", fix: "check that the mount trusts the token's issuer"},
		refusal{sentence: "could not load configuration", why: "the auth method at this mount is not configured", fix: "configure it, or check vault.auth.mount"},
		refusal{sentence: "invalid username or password", why: "the user name or the password is not valid", fix: "check both, and that the user may log in to this mount"},
		refusal{sentence: "invalid credentials", why: "the user name or the password is not valid", fix: "check both, and that the user may log in to this mount"},
		refusal{sentence: "ldap operation failed", why: "the LDAP server refused the user name or the password", fix: "check both, and that the user may log in to this mount"},
		refusal{sentence: "invalid certificate or no client certificate", why: "the client certificate is not one that the mount accepts", fix: "check the certificate, its authority, and the role's constraints"},
		refusal{sentence: "failed to match all constraints", why: "the client certificate does not fit the role", fix: "check its authority, and its names against the role's allowed ones"},
		refusal{sentence: "no chain matching", why: "the client certificate is not one that the mount accepts", fix: "check its authority against the mount's"},
		refusal{sentence: "client certificate must be supplied", why: "no client certificate reached Vault", fix: "see that nothing in between ends the TLS connection"},
	)
}
