package declare

import (
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

const authKey = vaultKey + ".auth"

// login reads the first kind of login that is there, in the order of the
// original, which looks at no other. A store without one leaves it to other
// declarations.
func (s *store) login() {
	a, chosen := &s.spec.Auth, ""
	for _, kind := range []struct {
		name  string
		there bool
		read  func(key string)
	}{
		{"tokenSecretRef", a.Token != nil, s.token},
		{"appRole", a.AppRole != nil, s.appRole},
		{"kubernetes", a.Kubernetes != nil, s.kubernetes},
		{"ldap", a.LDAP != nil, func(key string) { s.password("ldap", a.LDAP, key) }},
		{"userPass", a.UserPass != nil, func(key string) { s.password("userpass", a.UserPass, key) }},
		{"jwt", a.JWT != nil, s.jwt},
		{"cert", a.Cert != nil, s.cert},
		{"iam", a.IAM != nil, s.iam},
		{"gcp", a.GCP != nil, s.gcp},
	} {
		switch {
		case !kind.there:
		case chosen != "":
			s.ignore(authKey+"."+kind.name, chosen+" is there, and the original looks at that alone")
		default:
			chosen = kind.name
			kind.read(authKey + "." + kind.name)
		}
	}
}

func (s *store) method(name, mount, mountKey, key string) {
	s.plan.Login.Method = plan.Set(name, s.at(key))
	s.mount(mount, mountKey)
}

func (s *store) role(role, key string, must bool) {
	if role = strings.TrimSpace(role); role == "" {
		if must {
			s.fail(key, "it is missing", "name the role of Vault's login")
		}
		return
	}
	s.plan.Login.Role = plan.Set(role, s.at(key))
}

// input leaves a handle to the file that stands for a key of a Secret.
func (s *store) input(name string, ref *secretRef, usual, key string) {
	if ref == nil {
		s.fail(key, "it is missing", "name the Secret and its key")
		return
	}
	if file := s.secretFile(ref, usual, key); file != "" {
		s.handle(name, plan.HandleFile, file, key)
	}
}

func (s *store) handle(name string, kind plan.HandleKind, text, key string) {
	s.plan.Login.Inputs = put(s.plan.Login.Inputs, name, plan.Handle{Kind: kind, Name: text, Origin: s.at(key)})
}

func (s *store) token(key string) {
	s.method("token", "", "", key)
	s.input("token", s.spec.Auth.Token, "", key)
}

func (s *store) appRole(key string) {
	a := s.spec.Auth.AppRole
	s.method("approle", a.Path, key+".path", key)
	switch {
	case a.RoleID != "": // no secret, and shown openly
		s.handle("role_id", plan.HandleText, a.RoleID, key+".roleId")
	case a.RoleRef != nil:
		s.input("role_id", a.RoleRef, "", key+".roleRef")
	default:
		s.fail(key+".roleId", "it is missing", "give roleId, or roleRef")
	}
	s.input("secret_id", a.SecretRef, "", key+".secretRef")
}

// kubernetes: a service account that the operator asks a token for, and its own
// one, are both the pod's here; no input is declared, so the mounted token is
// found.
func (s *store) kubernetes(key string) {
	a := s.spec.Auth.Kubernetes
	s.method("kubernetes", a.MountPath, key+".mountPath", key)
	s.role(a.Role, key+".role", true)
	switch {
	case a.Account != nil:
		s.account(*a.Account, nil, key+".serviceAccountRef")
	case a.SecretRef != nil:
		s.input("jwt", a.SecretRef, "token", key+".secretRef")
	default:
		s.ignore(key, "the operator would log in as itself; it is the pod's service account now, and the role must allow that")
	}
}

// account says what becomes of a service account that is named. An audience is one
// of the token that is mounted, and no setting of the login.
func (s *store) account(a accountRef, audiences []string, key string) {
	why := "the login is that of the pod's own service account"
	if a.Name != "" {
		why += ", so let it run as this one"
	}
	if audiences = append(audiences, a.Audiences...); len(audiences) > 0 {
		all := strings.Join(audiences, ",")
		why += "; mount a projected token with the audience " + all + " and give jwt_file where the role wants one"
	}
	s.ignore(key, why)
}

func (s *store) password(method string, a *authPassword, key string) {
	s.method(method, a.Path, key+".path", key)
	s.handle("username", plan.HandleText, strings.TrimSpace(a.Username), key+".username")
	s.input("password", a.SecretRef, "", key+".secretRef")
}

func (s *store) jwt(key string) {
	a := s.spec.Auth.JWT
	s.method("jwt", a.Path, key+".path", key)
	s.role(a.Role, key+".role", false)
	switch {
	case a.SecretRef != nil:
		s.input("jwt", a.SecretRef, "", key+".secretRef")
	case a.Token != nil:
		key += ".kubernetesServiceAccountToken"
		audiences := a.Token.Audiences
		if audiences == nil {
			audiences = []string{"vault"}
		}
		s.handle("jwt", plan.HandleFile, serviceAccountToken, key)
		s.account(a.Token.Account, audiences, key)
	default:
		s.fail(key, "it has no token", "give secretRef or kubernetesServiceAccountToken")
	}
}

func (s *store) cert(key string) {
	a := s.spec.Auth.Cert
	s.method("cert", a.Path, key+".path", key)
	s.role(a.Role, key+".vaultRole", false)
	s.input("certificate", a.ClientCert, "tls.crt", key+".clientCert")
	s.input("private_key", a.SecretRef, "tls.key", key+".secretRef")
}

// iam: the AWS identity is the pod's own (IRSA, EKS Pod Identity, or variables).
func (s *store) iam(key string) {
	a := s.spec.Auth.IAM
	s.method("aws", a.Path, key+".path", key)
	s.role(a.Role, key+".vaultRole", true)
	for name, value := range map[string]string{"region": a.Region, "server_id": a.ServerID} {
		if value != "" {
			s.plan.Login.Params = put(s.plan.Login.Params, name, plan.Set(value, s.at(key)))
		}
	}
	if a.AWSRole != "" || a.ExternalID != "" {
		s.fail(key+".role", "no other AWS role is taken on before the login", "let the pod run with this role (IRSA or EKS Pod Identity), and leave it out")
	}
	if a.SecretRef != nil {
		s.fail(key+".secretRef", "AWS credentials are not read from a Secret", "give them to the container as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and leave it out")
	}
	if a.JWT != nil {
		s.ignore(key+".jwt", "the AWS identity is that of the pod's own service account, so let it run as this one")
	}
}

// gcp: a key in a Secret signs the login itself; all else is the identity that
// the platform gives the pod.
func (s *store) gcp(key string) {
	a := s.spec.Auth.GCP
	s.method("gcp", a.Path, key+".path", key)
	s.role(a.Role, key+".role", true)
	why := "the identity is the one that Google's metadata service gives the pod"
	if a.SecretRef != nil {
		why = "the key in the Secret says whose identity it is"
		s.input("credentials", a.SecretRef.Key, "", key+".secretRef.secretAccessKeySecretRef")
	}
	s.ignoreAll(key+".", why, []unusedField{
		{"location", a.Location},
		{"projectID", a.ProjectID},
		{"serviceAccountRef", a.Account},
		{"workloadIdentity", a.Workload},
	})
}
