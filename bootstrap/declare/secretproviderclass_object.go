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
		return nil, "it must be a list of objects in YAML" + yamlLine(err)
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
			o.class.ignore(o.place(name), "the field is unknown, and the provider ignores it"+didYouMean(name, known))
		}
	}
	o.name = o.text("objectName")
	if why := badObjectName(o.name); why != "" {
		o.fail("objectName", why, "give the name of the file, which may be in a folder: db/password")
	}
	from := o.class.at("spec.parameters." + o.key)
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

// otherNames says how two objects on one name are told apart: tutorials print
// objectName: config for both the user name and the password.
func (o *classObject) otherNames() string {
	fields := []string{}
	for _, other := range o.class.fieldsNamed(o.name) {
		if other != "" && !slices.Contains(fields, other) {
			fields = append(fields, other)
		}
	}
	if len(fields) < 2 {
		return "give each object a name of its own"
	}
	for i, field := range fields {
		fields[i] = "objectName: " + field
	}
	return "objectName is the name of the file: write " + strings.Join(fields, " and ")
}

// fieldsNamed gives the secretKey of every object with a name.
func (c *providerClass) fieldsNamed(name string) []string {
	var fields []string
	for _, item := range c.items {
		o := classObject{class: &providerClass{}, fields: item} // what is wrong with it is told elsewhere
		if o.text("objectName") == name {
			fields = append(fields, o.text("secretKey"))
		}
	}
	return fields
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
	method := o.text("method")
	switch method {
	case "", "GET":
	case "PUT", "POST": // one and the same to Vault
		r.Op = plan.OpWrite
		if asks {
			o.fail("secretPath", "a version is only of a secret that is read", "leave the query out")
		}
	default:
		fix := "use GET, PUT or POST"
		if up := strings.ToUpper(method); up == "GET" || up == "PUT" || up == "POST" {
			fix = "write " + up
		}
		o.fail("method", "Vault knows no such method: upper and lower case count", fix)
	}
	o.arguments(&r)
	return r
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
	if r.Op == plan.OpRead {
		o.class.ignore(o.place("secretArgs"), "Vault looks at no arguments of a GET; write method: PUT to send them")
		return
	}
	var args map[string]yaml.Node
	if err := n.Decode(&args); err != nil {
		o.fail("secretArgs", "it must be a map of what is sent", "")
		return
	}
	r.Body = map[string]plan.Handle{}
	for _, name := range slices.Sorted(maps.Keys(args)) {
		text, why := argumentText(args[name])
		if why != "" {
			o.fail("secretArgs."+name, why, "write one text; where Vault takes a list, it splits a text at the commas")
			continue
		}
		r.Body[name] = plan.Handle{Kind: plan.HandleText, Name: text, Origin: o.class.at(o.place("secretArgs." + name))}
	}
}

// argumentText gives a scalar as text. Vault takes numbers and truth values as
// text too. The original also sends maps and lists as JSON; we send texts only,
// and a list whose items are joined would not be the same to every endpoint.
func argumentText(n yaml.Node) (text, why string) {
	var v any
	if err := n.Decode(&v); err != nil {
		return "", "it cannot be read"
	}
	switch v := v.(type) {
	case string:
		return v, ""
	case bool, int, int64, uint64, float64:
		b, err := json.Marshal(v)
		if err != nil {
			return "", "this number cannot be sent"
		}
		return string(b), ""
	case nil:
		return "", "it has no value"
	}
	return "", "a list or a map is not sent"
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
// ours. Bits beyond permissions, which it passes on, are refused.
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
	return fs.FileMode(bits)
}
