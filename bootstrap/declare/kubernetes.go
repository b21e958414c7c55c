package declare

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// document is one Kubernetes object of a manifest.
type document struct {
	apiVersion, kind  string
	namespace, name   string
	at                string         // FILE, or FILE[N] for the Nth of several documents
	body              map[string]any // numbers are json.Number
	labels, annotated map[string]string
}

// origin is the place of a key in the document.
func (d document) origin(front, key string) plan.Origin {
	return plan.Origin{Front: front, At: d.at + " " + d.kind + "/" + d.name, Key: key}
}

// into decodes the document, or a part of it, into a struct with json tags. The
// error names the member, never a value.
func (d document) into(part any, to any) error {
	text, err := json.Marshal(part)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	return dec.Decode(to)
}

// manifest reads the documents of a file as a cluster would: YAML 1.1 with the
// rules of sigs.k8s.io/yaml, several documents apart by ---, and the items of a
// List one by one. Problems have CodeConfig.
func (in Input) manifest(front, path string, from plan.Origin) ([]document, error) {
	text, err := in.read(path)
	if err != nil {
		return nil, plan.Problems{{
			Code: plan.CodeConfig, Origin: from, What: fmt.Sprintf("cannot read the manifest %q", path), Why: reason(err), Err: err,
		}}
	}
	var docs []document
	var ps plan.Problems
	parts := splitDocuments(text)
	for i, part := range parts {
		at := path
		if len(parts) > 1 {
			at = fmt.Sprintf("%s[%d]", path, i)
		}
		body, err := readDocument(part)
		if err != nil {
			ps.Add(&plan.Problem{
				Code: plan.CodeConfig, Origin: plan.Origin{Front: front, At: at}, What: "the manifest", Why: err.Error(), Err: err,
			})
			continue
		}
		docs = append(docs, flatten(body, at)...)
	}
	return docs, ps.Err()
}

// splitDocuments cuts at lines that begin with ---, and leaves out what is empty.
func splitDocuments(text []byte) [][]byte {
	var parts [][]byte
	var part []byte
	flush := func() {
		if len(bytes.TrimSpace(part)) > 0 {
			parts = append(parts, part)
		}
		part = nil
	}
	for line := range bytes.Lines(text) {
		if bytes.HasPrefix(line, []byte("---")) && len(bytes.TrimSpace(line[3:])) == 0 {
			flush()
			continue
		}
		part = append(part, line...)
	}
	flush()
	return parts
}

// readDocument gives one document as maps; nil for one of comments only. The
// error holds no value: YAML's own messages quote what they stumble over.
func readDocument(text []byte) (map[string]any, error) {
	asJSON, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, fmt.Errorf("it is no YAML that a cluster reads%s", yamlLine(err))
	}
	dec := json.NewDecoder(bytes.NewReader(asJSON))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("it cannot be read as JSON")
	}
	switch v := v.(type) {
	case nil:
		return nil, nil
	case map[string]any:
		return v, nil
	}
	return nil, fmt.Errorf("it is not a map of keys")
}

// yamlLine takes the line number out of a message, and that a key is there twice.
func yamlLine(err error) string {
	message := err.Error()
	where := ""
	if i := strings.Index(message, "line "); i >= 0 {
		digits := message[i+5:]
		if end := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); end > 0 {
			where = ": see line " + digits[:end] + " of the document"
		}
	}
	if strings.Contains(message, "already set in map") {
		where += ", where a key is there twice"
	}
	return where
}

// flatten gives the object, or those of a List.
func flatten(body map[string]any, at string) []document {
	if body == nil {
		return nil
	}
	kind, _ := body["kind"].(string)
	items, isList := body["items"].([]any)
	if isList && strings.HasSuffix(kind, "List") {
		var docs []document
		for i, item := range items {
			if m, ok := item.(map[string]any); ok {
				docs = append(docs, flatten(m, fmt.Sprintf("%s.items[%d]", at, i))...)
			}
		}
		return docs
	}
	d := document{kind: kind, at: at, body: body}
	d.apiVersion, _ = body["apiVersion"].(string)
	meta, _ := body["metadata"].(map[string]any)
	d.name, _ = meta["name"].(string)
	d.namespace, _ = meta["namespace"].(string)
	d.labels, d.annotated = texts(meta["labels"]), texts(meta["annotations"])
	return []document{d}
}

// texts gives a map of texts; anything else in it is left out, as a cluster
// would have refused it.
func texts(v any) map[string]string {
	m, _ := v.(map[string]any)
	out := make(map[string]string, len(m))
	for key, v := range m {
		if s, ok := v.(string); ok {
			out[key] = s
		}
	}
	return out
}

// ofKind gives the documents of the given kinds.
func ofKind(docs []document, kinds ...string) []document {
	return slices.DeleteFunc(slices.Clone(docs), func(d document) bool { return !slices.Contains(kinds, d.kind) })
}
