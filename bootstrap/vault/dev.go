package vault

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/receipt"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/bootstrap/yamldoc"
)

// maxDevFile bounds the file, in bytes.
const maxDevFile = 1 << 20

// Dev stands in for a server: a local YAML file of paths and fields, behind the
// methods of Client. It is meant for laptops and unit tests.
//
// Each key of the file is a path as Vault has it, each value a mapping of
// fields. A path with a data/ element is a KV version 2 secret and is found
// with and without that element; any other path answers as it stands.
type Dev struct {
	file    string
	at      string // the same from anywhere
	secrets map[string]map[string]any
}

// PrepareDev reads the file. It refuses one that group or others may read or
// write, and warns that no server is used. The error is a *plan.Problem with
// plan.CodeConfig and never holds a value.
func PrepareDev(file plan.Setting[string], log *slog.Logger) (*Dev, error) {
	text, err := readPrivate(file)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	bad := func(why string) error {
		return &plan.Problem{Code: plan.CodeConfig, Origin: file.Origin, What: "dev file " + file.Value, Why: why, Fix: "write PATH: {FIELD: VALUE, …} for each secret"}
	}
	if !utf8.Valid(text) {
		return nil, bad("not valid UTF-8")
	}
	docs, err := yamldoc.Parse(text)
	var syntax *yamldoc.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return nil, bad("not YAML at line " + strconv.Itoa(syntax.Line))
	case len(docs) == 0:
		return nil, bad("the file is empty")
	case len(docs) > 1:
		return nil, bad("not one YAML document")
	}
	root, why := convert(docs[0])
	if why != "" {
		return nil, bad(why)
	}
	paths, ok := root.(map[string]any)
	if !ok {
		return nil, bad("the top level must be a mapping of paths")
	}
	d := &Dev{file: file.Value, secrets: map[string]map[string]any{}}
	if d.at, err = filepath.Abs(file.Value); err != nil {
		return nil, bad("the working folder is gone: give its whole path")
	}
	for path, v := range paths {
		fields, ok := v.(map[string]any)
		if !ok {
			return nil, bad("the value of " + strconv.Quote(path) + " must be a mapping of fields")
		}
		if _, twice := d.secrets[plan.SplitPath(path)]; twice {
			return nil, bad("the path " + strconv.Quote(plan.SplitPath(path)) + " is there twice")
		}
		d.secrets[plan.SplitPath(path)] = fields
	}
	log.Warn("DEVELOPMENT MODE: secrets come from a local file, not from Vault", slog.String("file", file.Value))
	return d, nil
}

// readPrivate reads a file that only its owner may touch, checking the very
// file that was opened.
func readPrivate(file plan.Setting[string]) ([]byte, error) {
	bad := func(why, fix string) error {
		return &plan.Problem{Code: plan.CodeConfig, Origin: file.Origin, What: "dev file " + file.Value, Why: why, Fix: fix}
	}
	f, err := os.OpenFile(file.Value, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO must not hold us
	if err != nil {
		return nil, bad(plan.PathCause(err), "check the path")
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, bad(plan.PathCause(err), "")
	case !info.Mode().IsRegular():
		return nil, bad("not a regular file", "check the path")
	case info.Mode().Perm()&0o077 != 0:
		return nil, bad("others may read or write it (mode "+strconv.FormatUint(uint64(info.Mode().Perm()), 8)+")", "chmod 600 "+file.Value)
	case info.Size() > maxDevFile:
		return nil, bad("larger than 1 MiB", "")
	}
	text, err := io.ReadAll(io.LimitReader(f, maxDevFile))
	if err != nil {
		return nil, bad(plan.PathCause(err), "")
	}
	return text, nil
}

// convert turns a YAML node into what a JSON answer would hold. Numbers keep
// their text. The second result says what cannot be used, with its line.
func convert(n *yaml.Node) (any, string) {
	line := "line " + strconv.Itoa(n.Line) + ": "
	if n.Kind == yaml.AliasNode || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0 {
		return nil, line + notUnderstood
	}
	switch n.Kind {
	case yaml.MappingNode:
		return convertMap(n)
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, item := range n.Content {
			one, why := convert(item)
			if why != "" {
				return nil, why
			}
			list = append(list, one)
		}
		return list, ""
	}
	switch n.ShortTag() {
	case "!!null":
		return nil, ""
	case "!!bool":
		return strings.EqualFold(n.Value, "true"), ""
	case "!!int":
		return number(n.Value), ""
	case "!!float":
		if strings.ContainsAny(n.Value, "nN") { // .inf and .nan
			return nil, line + "JSON has no such number"
		}
		return number(n.Value), ""
	}
	return n.Value, ""
}

const notUnderstood = "anchors, aliases, tags and merges are not understood here"

func convertMap(n *yaml.Node) (any, string) {
	m := map[string]any{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		line := "line " + strconv.Itoa(key.Line) + ": "
		_, twice := m[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode:
			return nil, line + "a key must be plain text"
		case key.ShortTag() == "!!merge" || key.Anchor != "" || key.Style&yaml.TaggedStyle != 0:
			return nil, line + notUnderstood
		case twice:
			return nil, line + "the key " + strconv.Quote(key.Value) + " is there twice"
		}
		v, why := convert(n.Content[i+1])
		if why != "" {
			return nil, why
		}
		m[key.Value] = v
	}
	return m, ""
}

// number keeps the text of a number when JSON would write it so; 0x1F and the
// like become decimal.
func number(text string) any {
	if json.Valid([]byte(text)) {
		return json.Number(text)
	}
	if n, ok := new(big.Int).SetString(strings.TrimPrefix(text, "+"), 0); ok {
		return json.Number(n.String())
	}
	return text
}

// Login does nothing.
func (d *Dev) Login(context.Context) error { return nil }

// Token is empty: nobody logs in.
func (d *Dev) Token() secret.Value { return secret.Value{} }

// HasLeases reports false: the file has none.
func (d *Dev) HasLeases() bool { return false }

// Identify does nothing.
func (d *Dev) Identify(context.Context) {}

// Record says that a local file was read.
func (d *Dev) Record() (receipt.Server, receipt.Login, []receipt.Read) {
	return receipt.Server{Address: "dev file " + d.file}, receipt.Login{Method: "none"}, nil
}

// Close does nothing.
func (d *Dev) Close(context.Context) error { return nil }

// Generation answers as Client.Generation would.
func (d *Dev) Generation() func(context.Context, plan.Read, map[string]secret.Value) (secret.Secret, error) {
	return d.read
}

func (d *Dev) read(_ context.Context, r plan.Read, _ map[string]secret.Value) (secret.Secret, error) {
	return firstOf(r, d.readOne)
}

func (d *Dev) readOne(r plan.Read) (secret.Secret, error) {
	path := plan.SplitPath(r.Path)
	problem := func(why, fix string) (secret.Secret, error) {
		return secret.Secret{}, &plan.Problem{Code: plan.CodeMissing, Origin: r.Origin, What: "secret " + path, Why: why, Fix: fix}
	}
	if r.Op == plan.OpList {
		return d.list(path, problem)
	}
	if fields, ok := d.secrets[path]; ok {
		if isData(path) {
			return kv2Answer(r, fields, problem)
		}
		if r.Version > 0 {
			return secret.Secret{}, noVersions(r, path)
		}
		return secret.Secret{Data: secret.NewTree(fields)}, nil
	}
	for key, fields := range d.secrets {
		if r.KV != plan.KV1 && r.KV != plan.KVLiteral && isData(key) && strings.Replace(key, "/data/", "/", 1) == path {
			return kv2Answer(r, fields, problem)
		}
	}
	return problem("there is no such secret in the dev file "+d.file, "add the path to it")
}

func isData(path string) bool { return strings.Contains(path, "/data/") }

// kv2Answer gives the two levels of a KV version 2 read.
func kv2Answer(r plan.Read, fields map[string]any, problem func(why, fix string) (secret.Secret, error)) (secret.Secret, error) {
	if r.Version > 1 {
		return problem("there is no version "+strconv.Itoa(r.Version)+" in a dev file", "only version 1 exists there")
	}
	meta := map[string]any{"created_time": "1970-01-01T00:00:00Z", "custom_metadata": nil, "deletion_time": "", "destroyed": false, "version": json.Number("1")}
	data := map[string]any{"data": fields, "metadata": meta}
	return secret.Secret{Data: secret.NewTree(data), KV2: true, Version: 1}, nil
}

// list gives the names directly below path, as a LIST does.
func (d *Dev) list(path string, problem func(why, fix string) (secret.Secret, error)) (secret.Secret, error) {
	names := map[string]bool{}
	for key := range d.secrets {
		rest, below := strings.CutPrefix(strings.Replace(key, "/data/", "/metadata/", 1), path+"/")
		if !below {
			continue
		}
		if name, _, folder := strings.Cut(rest, "/"); folder {
			rest = name + "/"
		}
		names[rest] = true
	}
	if len(names) == 0 {
		return problem("there is nothing below it in the dev file "+d.file, "add a path to it")
	}
	keys := make([]any, 0, len(names))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		keys = append(keys, name)
	}
	return secret.Secret{Data: secret.NewTree(map[string]any{"keys": keys})}, nil
}
