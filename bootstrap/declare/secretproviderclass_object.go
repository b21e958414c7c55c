package declare

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// classObjects reads the YAML inside the text. It is read by the library that
// the original has, because which numbers are octal differs between libraries.
// why holds no value.
func classObjects(text string) (items []map[string]yaml.Node, why string) {
	if strings.TrimSpace(text) == "" {
		return nil, "it is missing or empty"
	}
	dec := yaml.NewDecoder(strings.NewReader(text))
	if err := dec.Decode(&items); err != nil {
		why = "it must be a list of objects in YAML" + strings.Replace(yamlLine(err), "of the document", "of the text", 1)
		if strings.Contains(err.Error(), "already defined at line") {
			why += ", where a key is there twice"
		}
		return nil, why
	}
	var more yaml.Node
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, "a second document starts in it"
	}
	if len(items) == 0 {
		return nil, "the list is empty"
	}
	return items, ""
}

// classObject is one entry of objects.
type classObject struct {
	class  *providerClass
	fields map[string]yaml.Node
	key    string // objects[0]
	name   string
	broken bool
}

func (o *classObject) place(field string) string {
	return "spec.parameters." + o.key + "." + field
}

func (o *classObject) fail(field, why, fix string) {
	o.broken = true
	o.class.fail(o.place(field), why, fix)
}

// text gives a field as text; numbers and truth values are what was written, as
// the original takes them.
func (o *classObject) text(field string) string {
	n, ok := o.fields[field]
	if !ok {
		return ""
	}
	var s string
	if err := n.Decode(&s); err != nil {
		o.fail(field, "it must be text", "")
	}
	return s
}

// file makes the file of one object; ok is false where something is wrong.
func (o *classObject) file() (f plan.File, ok bool) {
	known := []string{"encoding", "filePermission", "method", "objectName", "secretArgs", "secretKey", "secretPath"}
	for _, name := range slices.Sorted(maps.Keys(o.fields)) {
		if !slices.Contains(known, name) {
			o.class.unknown(o.place(name), "the field is unknown, and the provider ignores it", known)
		}
	}
	o.name = o.text("objectName")
	if why := badObjectName(o.name); why != "" {
		o.fail("objectName", why, "give the name of the file, which may be in a folder: db/password")
	}
	from := o.class.at(fmt.Sprintf("spec.parameters.%s %q", o.key, o.name)) // a problem with the secret tells the name, as the original's does
	ref := plan.Ref{Read: o.read(from), Field: o.text("secretKey"), Level: plan.LevelNested, EscapeHTML: true}
	if ref.Field == "" {
		ref.Level, ref.Format = plan.LevelFields, plan.FormatResponse
	}
	ref.Decode = o.encoding(ref.Field)
	f = plan.File{Path: path.Clean(o.name), Source: plan.Source{Ref: &ref}, Mode: o.mode(), Origin: from}
	return f, !o.broken
}

// badObjectName refuses what the CSI driver refuses: it writes the files, and
// the provider passes every name on.
func badObjectName(name string) string {
	elements := strings.Split(name, "/")
	switch {
	case name == "":
		return "it is missing or empty"
	case path.IsAbs(name):
		return "the name begins with a slash"
	case slices.Contains(elements, ".."):
		return "the name has a .. element and could leave the folder"
	case path.Clean(name) == "." || strings.HasSuffix(name, "/"):
		return "the name is that of a folder"
	case len(name) > 4096:
		return "the name is longer than 4096 bytes"
	case slices.ContainsFunc(elements, func(e string) bool { return len(e) > 255 }):
		return "a part of the name is longer than 255 bytes"
	}
	return ""
}

// read makes the request. The path is the API's, so data/ of a KV version 2 is
// in it already.
func (o *classObject) read(from plan.Origin) plan.Read {
	r := plan.Read{KV: plan.KVLiteral, Origin: from}
	text, query, asks := strings.Cut(o.text("secretPath"), "?")
	text = strings.TrimPrefix(strings.TrimPrefix(text, "/"), "v1/")
	var why string
	if r.Path, why = vaultPath(text); why != "" {
		o.fail("secretPath", why, "write the path of the secret, such as secret/data/app")
	}
	if asks {
		r.Version = o.version(query)
	}
	r.Op = o.method()
	if asks && r.Op != plan.OpRead {
		o.fail("secretPath", "a version is only of a secret that is read", "leave the query out")
	}
	o.arguments(&r)
	return r
}

// method: PUT and POST are one and the same to Vault. The original sends any
// word, and get or post is one that Vault answers with 404.
func (o *classObject) method() plan.Op {
	known := map[string]plan.Op{"": plan.OpRead, "GET": plan.OpRead, "LIST": plan.OpList, "PUT": plan.OpWrite, "POST": plan.OpWrite}
	word := o.text("method")
	op, ok := known[word]
	if !ok {
		fix := "use GET, LIST, PUT or POST"
		if _, there := known[strings.ToUpper(word)]; there {
			fix = "write " + strings.ToUpper(word)
		}
		o.fail("method", "it is no method that reads or makes a secret; upper and lower case count", fix)
	}
	return op
}

// version reads the query, which the original sends on.
func (o *classObject) version(query string) int {
	values, err := url.ParseQuery(query)
	given := values["version"]
	if err != nil || len(values) != 1 || len(given) != 1 {
		o.fail("secretPath", "the query must be ?version=N", "leave anything else out")
		return 0
	}
	n, err := strconv.Atoi(given[0])
	if err != nil || n < 0 { // 0 is the newest, to Vault too
		o.fail("secretPath", "the version must be a whole number from 1", "")
	}
	return n
}

// arguments fills what is sent. A GET with a body is possible, and Vault does
// not look at it.
func (o *classObject) arguments(r *plan.Read) {
	n, ok := o.fields["secretArgs"]
	if !ok || n.ShortTag() == "!!null" {
		return
	}
	if r.Op != plan.OpWrite {
		o.class.ignore(o.place("secretArgs"), "Vault looks at no arguments of a GET or LIST; write method: PUT to send them")
		return
	}
	var args map[string]yaml.Node
	if err := n.Decode(&args); err != nil {
		o.fail("secretArgs", "it must be a map of what is sent", "")
		return
	}
	r.Body = map[string]plan.Handle{}
	for _, name := range slices.Sorted(maps.Keys(args)) {
		h, why := argument(args[name])
		if why != "" {
			o.fail("secretArgs."+name, why, "")
			continue
		}
		h.Origin = o.class.at(o.place("secretArgs." + name))
		r.Body[name] = h
	}
}

// argument gives what is sent: a text, or anything else as the JSON that the
// original sends.
func argument(n yaml.Node) (h plan.Handle, why string) {
	var v any
	if err := n.Decode(&v); err != nil {
		return h, "it cannot be read"
	}
	if text, ok := v.(string); ok {
		return plan.Handle{Kind: plan.HandleText, Name: text}, ""
	}
	b, err := json.Marshal(v)
	if err != nil {
		return h, "JSON has no way to write it"
	}
	return plan.Handle{Kind: plan.HandleText, Name: string(b), JSON: true}, ""
}

// encoding applies to one field only.
func (o *classObject) encoding(field string) plan.Decode {
	decode, ok := map[string]plan.Decode{
		"": plan.DecodeNone, "utf-8": plan.DecodeNone, "base64": plan.DecodeBase64, "hex": plan.DecodeHex,
	}[strings.ToLower(o.text("encoding"))]
	switch {
	case !ok:
		o.fail("encoding", "it must be utf-8, base64 or hex", "")
	case decode != plan.DecodeNone && field == "":
		o.class.ignore(o.place("encoding"), "it is for one field, and without secretKey the file is the whole answer")
		return plan.DecodeNone
	}
	return decode
}

// mode reads filePermission as the original's library reads numbers: 0600 and
// 0o600 are octal, and 384 is the same in decimal. Its own default, 0644, is not
// ours. Bits beyond permissions, which it passes on, are refused, and so are the
// decimal numbers that nobody means: 440 would be 0670.
func (o *classObject) mode() fs.FileMode {
	n, ok := o.fields["filePermission"]
	if !ok || n.ShortTag() == "!!null" {
		return 0
	}
	const fix = "write filePermission: 0600, without quotes and with the leading 0"
	for n.Kind == yaml.AliasNode {
		n = *n.Alias
	}
	var bits uint32
	if err := n.Decode(&bits); err != nil || n.ShortTag() != "!!int" {
		o.fail("filePermission", "it must be a number, such as 0600", fix)
		return 0
	}
	if bits > 0o777 {
		why := "it has more than permission bits"
		if n.Value == strconv.FormatUint(uint64(bits), 10) {
			why = fmt.Sprintf("without a leading 0 it is a decimal number, which is %#o and more than permission bits", bits)
		}
		o.fail("filePermission", why, fix)
		return 0
	}
	if slices.Contains([]string{"400", "440", "444"}, n.Value) {
		o.fail("filePermission", fmt.Sprintf("without a leading 0 it is a decimal number, which is %#o", bits), fix)
		return 0
	}
	return fs.FileMode(bits)
}
