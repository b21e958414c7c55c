package plan

// Bundle is one map from keys to texts that is made of several secrets, with
// templates over it: what an ExternalSecret declares.
type Bundle struct {
	Parts     []Part        // in order: a key of a later one replaces that of an earlier one
	Templates []KeyTemplate // over the map; in order, as parts
	Keep      bool          // the parts' own keys are delivered beside the templates'
}

// Part gives one key, or many.
type Part struct {
	Key  string // the one key; "": one per field of Ref, or per secret found
	Ref  Ref    // with Find only how what is found is written: Decode, EscapeHTML, Read.Optional
	Find *Find

	Rename  []Rename // of many keys, in order
	Convert Convert  // of many keys that Rename says nothing about
	NUL     bool     // a value with a NUL byte is an error
	Origin  Origin
}

// Find selects secrets below a path. Each that is found gives one key, its path
// below Base, with the whole secret as JSON.
type Find struct {
	List string // the path that is listed, as it is sent: secret/metadata/app
	Read string // the path that each is read at, as it is sent: secret/data/app
	Base string // what the keys begin with, such as app/; may be empty
	Flat bool   // folders below are not gone into

	Name string            // a Go regular expression, not anchored, for the key; "" is any
	Tags map[string]string // custom metadata that all must be there
}

// Rename changes the keys of a part. Exactly one of its members is set.
type Rename struct {
	Regexp    *RenameRegexp
	Transform string // a template in DialectExternalSecrets over .value, the key
	Merge     *RenameMerge
}

// RenameRegexp replaces what matches, as regexp.ReplaceAllString does.
type RenameRegexp struct{ Match, Replace string }

// RenameMerge takes values that are JSON maps apart, or puts all of them into one
// key.
type RenameMerge struct {
	Into           string // the key of the whole; "": every member is a key of its own
	IgnoreConflict bool   // a member that several have is taken by priority, and is no error
	Priority       []string
	IgnoreMissing  bool // a key of Priority that is not there is no error
}

// Convert says what becomes of the characters of a key that no file or variable
// of a Kubernetes Secret may have.
type Convert uint8

// The ways. ConvertNone: such a key is an error. ConvertDefault writes _ for the
// character, ConvertUnicode _UXXXX_ with its code point in hexadecimal.
const (
	ConvertNone Convert = iota
	ConvertDefault
	ConvertUnicode
)

// KeyTemplate makes one key; with no Key what it gives is read as a map of keys
// in YAML. Its data are the keys of the bundle's parts, as texts.
type KeyTemplate struct {
	Key      string
	Template Template
	Decode   Decode // of each value of a map in YAML
	Origin   Origin
}

// bundleKey is a key that is known before anything is read.
type bundleKey struct {
	name string
	from Origin
}

// keys lists the keys that will be delivered for sure, as far as they are known
// without reading.
func (b *Bundle) keys() []bundleKey {
	var keys []bundleKey
	for i := range b.Parts {
		if p := &b.Parts[i]; p.Key != "" && (b.Keep || len(b.Templates) == 0) {
			keys = append(keys, bundleKey{p.Key, p.Origin})
		}
	}
	for i := range b.Templates {
		if t := &b.Templates[i]; t.Key != "" {
			keys = append(keys, bundleKey{t.Key, t.Origin})
		}
	}
	return keys
}
