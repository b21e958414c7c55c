package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

// Dialect is the template language that a declaration is written in.
type Dialect uint8

// The dialects. The declaration decides, never the user.
const (
	DialectConsulTemplate  Dialect = iota // ours, Vault Agent's, the injector's, consul-template's, Flyte's
	DialectExternalSecrets                // sprig over a flat map of strings
	DialectBankVaults                     // ${ } with sprig over the secret's map
)

// Missing says what a template does with a value that is not there.
type Missing uint8

// The policies. MissingStrict: an error where the value is printed or given to
// a function, none where it is only tested. MissingError: an error wherever it
// is named (text/template's missingkey=error).
// MissingWhole: as MissingStrict, but a null inside a list or map that is printed
// whole is <nil>, as the injector's default template has it.
const (
	MissingStrict Missing = iota
	MissingError
	MissingWhole
)

// Source says where the bytes of a file or variable come from. Exactly one of
// its members is set.
type Source struct {
	Template *Template
	Ref      *Ref
	Pieces   []Piece // put together in order
	Token    bool    // the token of our login, which is then kept as long as what was delivered
}

// Piece is a part of a text: what a reference gives, or text that stands in the
// declaration and may well hold a secret, so that only its place is here.
type Piece struct {
	Ref      *Ref
	Text     *Handle // bytes From up to To of what it leads to
	From, To int
}

// IsOpen reports whether the source is only text that the declaration shows
// openly, and no secret.
func (s Source) IsOpen() bool {
	for _, p := range s.Pieces {
		if p.Text == nil || p.Text.Kind != HandleText {
			return false
		}
	}
	return len(s.Pieces) > 0
}

// IsLiteral reports whether the source is only text that stands in the declaration,
// openly or by its place: nobody who writes a secret in Vault decides it.
func (s Source) IsLiteral() bool {
	return len(s.Pieces) > 0 && !slices.ContainsFunc(s.Pieces, func(p Piece) bool { return p.Text == nil })
}

// Refs are the references that a source reads.
func (s Source) Refs() []*Ref {
	var refs []*Ref
	if s.Ref != nil {
		refs = append(refs, s.Ref)
	}
	for _, p := range s.Pieces {
		if p.Ref != nil {
			refs = append(refs, p.Ref)
		}
	}
	return refs
}

// Template is text with actions in it.
type Template struct {
	Name        string // for error messages: a file name or a key
	Text        string
	Dialect     Dialect
	Left, Right string // delimiters; "" is the dialect's own
	Missing     Missing
}

// Digest tells templates apart without their text: the first 12 hexadecimal digits of
// the text's SHA-256; with delimiters of its own, of them and the text with a NUL
// after each.
func (t Template) Digest() string {
	text := t.Text
	if t.Left+t.Right != "" {
		text = t.Left + "\x00" + t.Right + "\x00" + text
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}

// Ref names a secret or one field of it.
type Ref struct {
	Read    Read
	Field   string  // "" is the whole secret
	Select  Select  // how Field is looked up
	Format  Format  // how a whole secret, list or map becomes bytes
	Decode  Decode  // applied to a string value
	Default *Handle // used when the secret or the field is missing

	Level      Level // which of the answer's maps the fields are looked for in
	EscapeHTML bool  // in JSON, <, > and & as \u003c and so on, as Go's encoding/json does
	NullEmpty  bool  // a field that is null is the empty text, and not missing

	KeystorePassword *Handle // of FormatPKCS12, which needs one
}

// Level says which map of an answer has the fields.
type Level uint8

// The levels. LevelFields is what the engine makes it: below data for KV version
// 2. LevelNested is below data wherever that is a map, as the CSI provider takes
// it. LevelMetadata is what KV version 2 says about a secret: its custom metadata
// and created_time, current_version and delete_version_after.
const (
	LevelFields Level = iota
	LevelNested
	LevelMetadata
)

// Select is the way a field is looked up in a secret's data.
type Select uint8

// The ways. SelectKey takes the name as one key; SelectPath as a gjson path if
// no key has that very name; SelectTemplate as a template over the data, in
// DialectBankVaults. SelectTracking takes one of the names below out of a secret
// that is written as MLflow Secrets Auth wants it.
const (
	SelectKey Select = iota
	SelectPath
	SelectTemplate
	SelectTracking
)

// The fields of SelectTracking: the bearer token, or the two halves of a basic
// login.
const (
	TrackingToken    = "token"
	TrackingUsername = "username"
	TrackingPassword = "password"
)

// Format is a way to write a whole secret down, for the consumer that it names.
// What it has no way to write is refused, see package render.
type Format uint8

// The formats. FormatAuto is raw for one field and json for a whole secret.
const (
	FormatAuto         Format = iota
	FormatRaw                 // the only field, byte by byte
	FormatJSON                // RFC 8259, sorted
	FormatYAML                // what readers of YAML 1.1 and 1.2 agree on
	FormatTOML                // TOML 1.0
	FormatDotenv              // a .env file: a shell's and the common libraries'
	FormatDockerEnv           // docker run --env-file
	FormatSystemdEnv          // EnvironmentFile= of systemd.exec(5)
	FormatExport              // a file that sh, dash and bash source
	FormatProperties          // java.util.Properties.load
	FormatGitHubEnv           // what a step appends to $GITHUB_ENV
	FormatGitHubOutput        // … and to $GITHUB_OUTPUT
	FormatPEMBundle           // certificate, chain and private key in one file
	FormatPKCS12              // the same as a keystore, see Ref.KeystorePassword
	FormatFiles               // one file per field
	FormatResponse            // the whole answer as JSON, as Vault's Go client writes it
)

// Decode is an encoding to be undone.
type Decode uint8

// The encodings. DecodeAuto leaves text that does not decode as it is.
const (
	DecodeNone Decode = iota
	DecodeBase64
	DecodeBase64URL
	DecodeHex
	DecodeAuto
)
