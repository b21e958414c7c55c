// Package plan says what to log in to, what to read, what to write and what to
// run, and never what any secret is.
//
// Every way of declaring secrets (package declare) ends as one [Plan]. Because
// a Plan holds no secret it can be printed, compared, kept as a golden file and
// turned into a Vault policy. Where a login needs a secret input, the Plan has
// a [Handle]: the place where the text is to be found, not the text.
//
// The package depends on the standard library only and reads nothing: no file,
// no environment, no network, no clock.
package plan

import (
	"iter"
	"time"
)

// Plan is one complete declaration. The zero Plan declares nothing.
type Plan struct {
	Vault   Vault     // the server, and how to reach it
	Login   Login     // who we are to it
	Sink    Sink      // where files go
	Reads   []Read    // what is read; completed from the sources before a run
	Files   []File    // one declaration, one file
	Sets    []FileSet // one declaration, many files, known only after reading
	Env     []Env     // one declaration, one variable
	EnvSets []EnvSet  // one declaration, many variables
	Run     Run       // the target process
	Refresh Refresh   // for every file and variable that says nothing of its own

	// OnExpiry is what becomes of files when something in them has expired and could
	// not be replaced.
	OnExpiry Setting[Expiry]

	// KeepPrevious is how long a generation that was replaced stays for those who
	// are reading it.
	KeepPrevious Setting[time.Duration]

	// Timeout bounds everything up to the start of the command, all tries
	// included; 0 is no bound.
	Timeout Setting[time.Duration]

	// Expires is how long after the delivery the files are shredded, whoever still
	// wants them; not set and 0: never.
	Expires Setting[time.Duration]

	// CI is the system that init runs as a step of, and CIExport where the variables
	// go then, see ParseCIExport.
	CI       Setting[CI]
	CIExport Setting[string]

	// Receipt is the absolute path of the file that tells, without a value, what
	// was done: who logged in, what was read and written. Not set: none.
	Receipt Setting[string]

	// Listen is where probes and Prometheus are answered while we run, see
	// SplitListen. Not set: nowhere.
	Listen Setting[string]

	// ExitWith is the process, or the file, that the keeping fresh ends with, see
	// SplitExitWith. Not set: it ends when it is told to by a signal.
	ExitWith Setting[string]

	// TemplateRoot is the absolute path of the folder that templates may read
	// files from. Not set: they may read none.
	TemplateRoot Setting[string]

	// Computed lists the templates that compute a path, which is known only when
	// they run; filled in for printing, as Reads is.
	Computed []Origin

	// Ignored lists what the declaration said and we do not need, with the
	// reason, so that nothing is dropped silently.
	Ignored []Ignored
}

// Vault is the server and the transport to it. The empty string in a TLS field
// means: not set.
type Vault struct {
	Dev       Setting[string] // path of a YAML file that stands in for Vault
	Address   Setting[string] // https://host:port or unix:///path
	Namespace Setting[string] // Vault Enterprise and OpenBao namespaces
	TLS       TLS
	Proxy     Setting[string]

	// Headers are sent with every request, by name; HeaderSet is a JSON object
	// of more of them. They are handles because a proxy's credentials are sent so.
	Headers   map[string]Handle
	HeaderSet Handle

	// Redirects lists hosts (host, host:port, or *.domain) that a redirect may
	// lead to besides the address itself, for standby nodes.
	Redirects Setting[[]string]

	RateLimit Setting[Rate]  // not set: no limit of our own
	BodyLimit Setting[int64] // bytes of the largest answer that is accepted

	// Connections bounds the requests under way at once (HTTP/1.1: the
	// connections too; HTTP/2 uses one); not set: DefaultConnections, DefaultStreams.
	Connections Setting[int]

	// KV gives the version of a KV mount that the server need not be asked
	// about, by mount path without slashes at the ends.
	KV       map[string]KVRule
	KVOrigin Origin // of all of them
}

// TLS mirrors the settings of the vault command line.
type TLS struct {
	CACert     Setting[string] // path of a PEM bundle
	CACertPEM  Setting[string] // the bundle itself: it is public
	CAPath     Setting[string] // folder of PEM files
	ClientCert Setting[string] // path
	ClientKey  Setting[string] // path
	ServerName Setting[string]
	SkipVerify Setting[bool]
}

// Login says how to get a token.
type Login struct {
	// Method is token, approle, …; "" or auto: found out from the inputs.
	Method Setting[string]
	Mount  Setting[string] // without the auth/ prefix; "" is the method's default
	Role   Setting[string]

	// Namespace is where the login is done; not set: where the secrets are.
	Namespace Setting[string]

	// Inputs are the method's inputs by name: token, role_id, secret_id, jwt,
	// username, password, certificate, private_key, …
	Inputs map[string]Handle

	// Ambient are inputs that the platform left for us and nobody asked for, by
	// the names below: a service account's token, a CI job's means to get one,
	// ~/.vault-token. A declared input of any method wins over all of them.
	Ambient map[string]Handle

	// Params are further settings of the method that are no secret: audience,
	// secret_id_creation_path, ….
	Params map[string]Setting[string]
}

// The names of ambient login inputs.
const (
	AmbientTokenHelper    = "token_helper"          // ~/.vault-token, which `vault login` leaves
	AmbientServiceAccount = "service_account_token" // of a Kubernetes pod
	AmbientIDTokenURL     = "id_token_request_url"  // of a GitHub Actions job; the next one goes with it
	AmbientIDTokenRequest = "id_token_request_token"
	AmbientGitLabIDToken  = "gitlab_id_token" // of a GitLab job
)

// Sink is the folder that files are delivered to.
type Sink struct {
	Dir       Setting[string] // absolute; not set: chosen, see package volume
	AllowDisk Setting[bool]   // accept a file system that is not in memory

	Mount     Setting[Mount] // who sees the folder
	MountSize Setting[int64] // bytes that a private mount holds; not set: DefaultMountSize
}

// Mount says whose mount the folder is on.
type Mount uint8

// The ways. MountShared uses the folder as it is there for everybody;
// MountPrivate mounts a tmpfs on it that only we and the command see.
const (
	MountShared Mount = iota
	MountPrivate
)

// DefaultMountSize is the size of a private mount that asks for none, in bytes.
const DefaultMountSize = 16 << 20

// DefaultConnections and, where HTTP/2 shares one connection among them, DefaultStreams
// bound the requests under way at once when the plan does not say. A server of Go, such
// as Vault, takes 250 on a connection.
const (
	DefaultConnections = 16
	DefaultStreams     = 64
)

// KVRule says how a path relates to a KV secrets engine.
type KVRule uint8

// The rules. The zero value asks the server once per mount.
const (
	KVAuto    KVRule = iota // found out
	KV1                     // version 1, or no KV at all: the path is sent as written
	KV2                     // version 2: data/ is inserted after the mount where it is missing
	KVLiteral               // the path is sent as written, whatever the mount is
)

// Op is what is done at a path.
type Op uint8

// The operations.
const (
	OpRead  Op = iota // GET
	OpWrite           // PUT with a body; answers with a secret (pki issue, transit decrypt)
	OpList            // LIST
)

// Read is one request for a secret.
type Read struct {
	Path     string // as declared, without a leading slash; data/ may be there or not
	Op       Op
	KV       KVRule
	Version  int               // of a KV v2 secret; 0 is the newest
	Body     map[string]Handle // for OpWrite
	Optional bool              // a missing secret is not an error
	Origin   Origin

	// Else are paths that are tried, in order, where this one has no secret or
	// is refused: the places that one declaration can mean.
	Else []string
}

// Refresh says how long what was delivered is believed, and what is done when
// it changed.
type Refresh struct {
	Every       Setting[time.Duration] // poll a secret without a lease; 0 is never
	Splay       Setting[time.Duration]
	OnChange    Setting[Action]
	Debounce    Setting[time.Duration]
	MinInterval Setting[time.Duration]
}

// Refreshes goes over everything that is said of how something is kept fresh: what
// counts for all, and each declaration's own. They are those of the plan, no copies.
func (p *Plan) Refreshes() iter.Seq[*Refresh] {
	return func(yield func(*Refresh) bool) {
		ok := yield(&p.Refresh)
		for i := 0; ok && i < len(p.Files); i++ {
			ok = yield(&p.Files[i].Refresh)
		}
		for i := 0; ok && i < len(p.Sets); i++ {
			ok = yield(&p.Sets[i].Refresh)
		}
		for i := 0; ok && i < len(p.Env); i++ {
			ok = yield(&p.Env[i].Refresh)
		}
		for i := 0; ok && i < len(p.EnvSets); i++ {
			ok = yield(&p.EnvSets[i].Refresh)
		}
	}
}

// Expiry says what follows when a secret has expired in spite of everything.
type Expiry uint8

// The policies.
const (
	ExpiryKeep  Expiry = iota // the files stay, and it is logged
	ExpiryShred               // all files are destroyed until there are good ones
	ExpiryStop                // the command, or watch, is ended
)

// Action is what follows a change. The zero Action does nothing.
type Action struct {
	Kind    ActionKind
	Signal  string   // for ActionSignal, without SIG
	Argv    []string // for ActionExec; no shell
	Timeout time.Duration
}

// ActionKind selects the action.
type ActionKind uint8

// The kinds.
const (
	ActionNone ActionKind = iota
	ActionSignal
	ActionRestart
	ActionExec
)

// Run is the target process.
type Run struct {
	Command         []string
	CommandOrigin   Origin
	Mode            Setting[RunMode]
	User            Setting[string] // uid[:gid] or names, see SplitUser
	KillTimeout     Setting[time.Duration]
	Janitor         Setting[bool] // a helper cleans up when we are killed; not set: yes
	Mask            Setting[Mask]
	FailOnLeak      Setting[bool]
	PTY             Setting[PTY]
	Pristine        Setting[bool]     // inherit nothing but what EnvAllow names
	EnvAllow        Setting[[]string] // shell patterns of what is inherited; not set: everything
	EnvDeny         Setting[[]string] // shell patterns of what is not
	DangerousEnv    Setting[bool]     // variables that change how programs run may be declared
	KeepCredentials Setting[bool]     // leave our own credentials in the environment
	NoNewPrivs      Setting[bool]
	CapDrop         Setting[[]string] // names of capabilities without CAP_, or AllCapabilities alone
}

// RunMode is replace or supervise.
type RunMode uint8

// The modes. RunAuto replaces when nothing is left to do afterwards.
const (
	RunAuto RunMode = iota
	RunReplace
	RunSupervise
)

// Mask says whether secrets are masked in the child's output.
type Mask uint8

// The settings. MaskAuto is on when CI is set.
const (
	MaskAuto Mask = iota
	MaskOn
	MaskOff
)

// PTY says whether the child gets a terminal of its own.
type PTY uint8

// The settings. PTYAuto gives one where we have one and masking is on.
const (
	PTYAuto PTY = iota
	PTYOn
	PTYOff
)

// Ignored is a part of a declaration that has no meaning here.
type Ignored struct {
	What   string
	Why    string
	Origin Origin

	// Mistyped: it looks like a slip for what has a meaning, so that something else
	// is delivered than was meant.
	Mistyped bool
}
