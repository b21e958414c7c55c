package declare

import (
	"fmt"
	"maps"
	"slices"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// templates reads target.template. Its data come after templateFrom and win; the
// keys that were read are delivered beside them where mergePolicy says so, or
// where there is no template at all.
func (e *external) templates() {
	t, key := e.spec.Target.Template, e.key+".target.template"
	if t == nil {
		e.made.Keep = true
		return
	}
	if t.Engine != "" && t.Engine != "v2" {
		e.fail(key+".engineVersion", "it must be v2: the older template engine is gone from the operator too", "write engineVersion: v2 and check the templates")
	}
	e.ignoreAll(key+".", "no Kubernetes Secret is made that could have it", []unusedField{{"metadata", t.Metadata}, {"type", t.Type}})
	for i := range t.TemplateFrom {
		e.templateFrom(&t.TemplateFrom[i], fmt.Sprintf("%s.templateFrom[%d]", key, i))
	}
	for _, name := range slices.Sorted(maps.Keys(t.Data)) {
		at := key + ".data." + name
		if why := badSecretKey(name); why != "" {
			e.fail(at, why, "")
		}
		e.template(plan.KeyTemplate{Key: name}, t.Data[name], at)
	}
	e.made.Keep = t.MergePolicy == "Merge" || len(t.Data)+len(t.TemplateFrom) == 0
	if !e.made.Keep && len(e.made.Templates) == 0 {
		e.fail(key, "it gives no key, and without mergePolicy: Merge the keys that were read are not delivered", "add data, or write mergePolicy: Merge")
	}
}

// template adds a template. A value that is not there is an error, as in the
// original.
func (e *external) template(t plan.KeyTemplate, text, key string) {
	t.Origin = e.at(key)
	t.Template = plan.Template{Name: t.Origin.String(), Text: text, Dialect: plan.DialectExternalSecrets, Missing: plan.MissingError}
	e.made.Templates = append(e.made.Templates, t)
}

// templateFrom reads templates that stand elsewhere: in a text here, which gives
// a map in YAML, or in a ConfigMap of the same file.
func (e *external) templateFrom(t *externalTemplateFrom, key string) {
	switch t.Target {
	case "", "Data":
	case "Annotations", "Labels":
		e.ignore(key, "no Kubernetes Secret is made that could have "+t.Target)
		return
	default:
		e.fail(key+".target", "only the target Data is delivered", "")
	}
	if t.Secret != nil {
		e.fail(key+".secret", "a template in a Secret would be a secret in this file", "put the template into a ConfigMap or write it as literal")
	}
	if t.ConfigMap == nil && t.Secret == nil && t.Literal == nil {
		e.fail(key, "it has none of configMap, secret and literal", "")
	}
	decode := decodingOf(t.Decoding)
	if t.ConfigMap != nil {
		for i, item := range t.ConfigMap.Items {
			e.templateItem(t.ConfigMap.Name, item, decode, fmt.Sprintf("%s.configMap.items[%d]", key, i))
		}
	}
	if t.Literal != nil {
		e.template(plan.KeyTemplate{Decode: decode}, *t.Literal, key+".literal")
	}
}

// templateItem reads one key of a ConfigMap: the template of one key, or of a
// map of them.
func (e *external) templateItem(name string, item templateItem, decode plan.Decode, key string) {
	text, why, fix := configMapText(e.all.docs, name, item.Key, e.namespace)
	switch {
	case why != "":
		e.fail(key, why, fix)
	case item.As == "KeysAndValues":
		e.template(plan.KeyTemplate{Decode: decode}, text, key)
	case decode != plan.DecodeNone:
		e.fail(key, "valuesDecodingStrategy is for the values of a map", "write templateAs: KeysAndValues, or leave the strategy out")
	case badSecretKey(item.Key) != "":
		e.fail(key+".key", badSecretKey(item.Key), "")
	default:
		e.template(plan.KeyTemplate{Key: item.Key}, text, key)
	}
}
