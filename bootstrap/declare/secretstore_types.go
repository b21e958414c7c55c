package declare

// What a SecretStore or ClusterSecretStore says, for object.fill.
//
// https://external-secrets.io/latest/provider/hashicorp-vault/

type storeSpec struct {
	Controller      any            `json:"controller"`
	Provider        map[string]any `json:"provider" required:"true"`
	RetrySettings   any            `json:"retrySettings"`
	RefreshInterval any            `json:"refreshInterval"`
	Conditions      any            `json:"conditions"`
}

type vaultStore struct {
	Server     string            `json:"server" required:"true"`
	Path       string            `json:"path"`
	Version    string            `json:"version" enum:"v1|v2"`
	Namespace  string            `json:"namespace"`
	CABundle   string            `json:"caBundle"`
	CAProvider *caProvider       `json:"caProvider"`
	TLS        storeTLS          `json:"tls"`
	Headers    map[string]string `json:"headers"`
	ReadYours  any               `json:"readYourWrites"`
	Forward    any               `json:"forwardInconsistent"`
	CheckSet   any               `json:"checkAndSet"`
	Auth       storeAuth         `json:"auth"`
}

type caProvider struct {
	Type      string `json:"type" required:"true" enum:"Secret|ConfigMap"`
	Name      string `json:"name" required:"true"`
	Key       string `json:"key"`
	Namespace string `json:"namespace"`
}

type storeTLS struct {
	Cert *secretRef `json:"certSecretRef"`
	Key  *secretRef `json:"keySecretRef"`
}

// secretRef names a key of a Secret.
type secretRef struct {
	Name      string `json:"name"`
	Key       string `json:"key"`
	Namespace string `json:"namespace"`
}

type accountRef struct {
	Name      string   `json:"name"`
	Namespace string   `json:"namespace"`
	Audiences []string `json:"audiences"`
}

type storeAuth struct {
	Namespace  string          `json:"namespace"`
	Token      *secretRef      `json:"tokenSecretRef"`
	AppRole    *authAppRole    `json:"appRole"`
	Kubernetes *authKubernetes `json:"kubernetes"`
	LDAP       *authPassword   `json:"ldap"`
	UserPass   *authPassword   `json:"userPass"`
	JWT        *authJWT        `json:"jwt"`
	Cert       *authCert       `json:"cert"`
	IAM        *authIAM        `json:"iam"`
	GCP        *authGCP        `json:"gcp"`
}

type authAppRole struct {
	Path      string     `json:"path"`
	RoleID    string     `json:"roleId"`
	RoleRef   *secretRef `json:"roleRef"`
	SecretRef *secretRef `json:"secretRef"`
}

type authKubernetes struct {
	MountPath string      `json:"mountPath"`
	Role      string      `json:"role"`
	Account   *accountRef `json:"serviceAccountRef"`
	SecretRef *secretRef  `json:"secretRef"`
}

type authPassword struct {
	Path      string     `json:"path"`
	Username  string     `json:"username" required:"true"`
	SecretRef *secretRef `json:"secretRef"`
}

type authJWT struct {
	Path      string     `json:"path"`
	Role      string     `json:"role"`
	SecretRef *secretRef `json:"secretRef"`
	Token     *struct {
		Account    accountRef `json:"serviceAccountRef"`
		Audiences  []string   `json:"audiences"`
		Expiration any        `json:"expirationSeconds"`
	} `json:"kubernetesServiceAccountToken"`
}

type authCert struct {
	Path       string     `json:"path"`
	Role       string     `json:"vaultRole"`
	ClientCert *secretRef `json:"clientCert"`
	SecretRef  *secretRef `json:"secretRef"`
}

type authIAM struct {
	Path       string `json:"path"`
	Region     string `json:"region"`
	AWSRole    string `json:"role"`
	Role       string `json:"vaultRole"`
	ExternalID string `json:"externalID"`
	ServerID   string `json:"vaultAwsIamServerID"`
	SecretRef  any    `json:"secretRef"`
	JWT        any    `json:"jwt"`
}

type authGCP struct {
	Path      string `json:"path"`
	Role      string `json:"role" required:"true"`
	ProjectID any    `json:"projectID"`
	Location  any    `json:"location"`
	SecretRef *struct {
		Key *secretRef `json:"secretAccessKeySecretRef"`
	} `json:"secretRef"`
	Workload any `json:"workloadIdentity"`
	Account  any `json:"serviceAccountRef"`
}
