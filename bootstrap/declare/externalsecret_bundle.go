package declare

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// bundle makes the parts and templates of the ExternalSecret: dataFrom in order,
// then data, so that a single key wins over one of many.
func (e *external) bundle() {
	if len(e.spec.Data)+len(e.spec.DataFrom) == 0 {
		e.fail(e.key+".data", "neither data nor dataFrom says what to read", "give one of them")
	}
	for i := range e.spec.DataFrom {
		e.from(&e.spec.DataFrom[i], fmt.Sprintf("%s.dataFrom[%d]", e.key, i))
	}
	first := map[string]string{}
	for i := range e.spec.Data {
		d, key := &e.spec.Data[i], fmt.Sprintf("%s.data[%d]", e.key, i)
		if at, twice := first[d.SecretKey]; twice && d.SecretKey != "" {
			e.fail(key+".secretKey", "the same key is that of "+at+", and one of the two would be lost", "give one of them another key")
		}
		first[d.SecretKey] = key
		e.single(d, key)
	}
	e.templates()
}

// add appends a part. A secret that is missing is an error as long as the Secret
// would be retained, which is the default.
func (e *external) add(p plan.Part, key string) {
	p.Origin = e.at(key)
	p.Ref.Read.Optional = e.spec.Target.DeletionPolicy == "Delete" || e.spec.Target.DeletionPolicy == "Merge"
	p.Ref.EscapeHTML, p.Ref.NullEmpty = true, true
	e.made.Parts = append(e.made.Parts, p)
}

// store gives the store of a source, or else that of the whole ExternalSecret;
// nil with a problem where there is none.
func (e *external) store(source externalSource, key string) *store {
	if source.GeneratorRef != nil {
		e.fail(key+".sourceRef.generatorRef", "generators are not supported",
			"for Vault's dynamic secrets read the path in a template or reference of ours; take random values from the application itself")
		return nil
	}
	ref := e.spec.StoreRef
	from := e.key + ".secretStoreRef"
	if source.StoreRef.Name != "" {
		ref, from = source.StoreRef, key+".sourceRef.storeRef"
	}
	if ref.Name == "" {
		e.fail(from, "no store is named", "write secretStoreRef: { name: NAME }")
		return nil
	}
	s := e.all.store(ref, e.namespace)
	if s == nil {
		what := fmt.Sprintf("the %s %q", cmp.Or(ref.Kind, "SecretStore"), ref.Name)
		if e.namespace != "" {
			what += fmt.Sprintf(" of the namespace %q", e.namespace)
		}
		e.fail(from, what+" is not in the file, and its path and version say where the secrets are",
			"put it into the same file, apart by ---; the files of several --from are not put together")
	}
	return s
}

// single reads one entry of data.
func (e *external) single(d *externalData, key string) {
	if why := badSecretKey(d.SecretKey); why != "" {
		e.fail(key+".secretKey", why, "")
	}
	if c := d.RemoteRef.Conversion; c != "" && c != "Default" {
		e.ignore(key+".remoteRef.conversionStrategy", "it is for many keys, and the original ignores it here too")
	}
	s := e.store(d.SourceRef, key)
	if s == nil {
		return
	}
	ref, ok := e.ref(s, &d.RemoteRef, key+".remoteRef")
	if ok {
		e.add(plan.Part{Key: d.SecretKey, Ref: ref, NUL: d.RemoteRef.NullByte == "Fail"}, key)
	}
}

// ref makes the reference of a key in a store.
func (e *external) ref(s *store, r *remoteRef, key string) (plan.Ref, bool) {
	before := len(e.problems)
	ref := plan.Ref{
		Read: plan.Read{KV: plan.KVLiteral, Origin: e.at(key)}, Field: r.Property, Decode: decodingOf(r.Decoding),
	}
	if r.Property != "" {
		ref.Select = plan.SelectPath
	}
	var why string
	switch {
	case r.Key == "":
		why = "it is missing or empty"
	case r.Metadata == "Fetch":
		ref.Level = plan.LevelMetadata
		ref.Read.Path, why = s.metadataPath(r.Key)
		if r.Version != "" {
			e.ignore(key+".version", "metadata is that of all versions")
		}
	default:
		ref.Read.Path, why = s.dataPath(r.Key)
		ref.Read.Version = e.version(s, r.Version, key+".version")
	}
	if why != "" {
		e.fail(key+".key", why, "")
	}
	return ref, len(e.problems) == before
}

// version reads the version of a secret; 0 is the newest, to Vault too.
func (e *external) version(s *store, text, key string) int {
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	switch {
	case err != nil || n < 0:
		e.fail(key, "it must be a whole number from 1", "")
	case n > 0 && !s.isV2():
		e.fail(key, "KV version 1 has no versions", "leave it out, or write version: v2 in the store")
	}
	return n
}

func decodingOf(name string) plan.Decode {
	return map[string]plan.Decode{
		"Base64": plan.DecodeBase64, "Base64URL": plan.DecodeBase64URL, "Auto": plan.DecodeAuto,
	}[name]
}

// conversionOf is what becomes of keys that no rewrite has been at.
func conversionOf(name string, rewritten bool) plan.Convert {
	switch {
	case rewritten:
		return plan.ConvertNone
	case name == "Unicode":
		return plan.ConvertUnicode
	}
	return plan.ConvertDefault
}

// from reads one entry of dataFrom.
func (e *external) from(d *externalFrom, key string) {
	s := e.store(d.SourceRef, key)
	part := plan.Part{}
	for i, r := range d.Rewrite {
		part.Rename = append(part.Rename, e.rename(r, fmt.Sprintf("%s.rewrite[%d]", key, i)))
	}
	switch {
	case d.SourceRef.GeneratorRef != nil:
	case (d.Extract == nil) == (d.Find == nil):
		e.fail(key, "it must have one of extract and find", "")
	case s == nil:
	case d.Extract != nil:
		var ok bool
		if part.Ref, ok = e.ref(s, d.Extract, key+".extract"); ok {
			part.Convert, part.NUL = conversionOf(d.Extract.Conversion, len(d.Rewrite) > 0), d.Extract.NullByte == "Fail"
			e.add(part, key)
		}
	default:
		part.Convert, part.NUL = conversionOf(d.Find.Conversion, len(d.Rewrite) > 0), d.Find.NullByte == "Fail"
		part.Ref.Decode = decodingOf(d.Find.Decoding)
		part.Find = e.find(s, d.Find, key+".find")
		e.add(part, key)
	}
}

// find reads a search. The original looks at the tags only where there is no
// name; with both, what is found would be more than what was written.
func (e *external) find(s *store, f *externalFind, key string) *plan.Find {
	found, why := s.find(f.Path)
	if why != "" {
		e.fail(key+".path", why, "give the store the path of the mount")
	}
	switch {
	case f.Name != nil && len(f.Tags) > 0:
		e.fail(key+".tags", "name is there too, and the original looks at the name alone", "keep one of the two")
	case f.Name == nil && len(f.Tags) == 0:
		e.fail(key, "it has neither name nor tags", `write name: { regexp: ".*" } for all of them`)
	case len(f.Tags) > 0 && !s.isV2():
		e.fail(key+".tags", "KV version 1 has no tags", "search by name")
	case f.Name != nil:
		e.expression(f.Name.Regexp, key+".name.regexp")
		found.Name = f.Name.Regexp
	}
	found.Tags = f.Tags
	return &found
}

// expression checks a regular expression. The library's message would repeat it.
func (e *external) expression(s, key string) {
	_, err := regexp.Compile(s)
	var wrong *syntax.Error
	if errors.As(err, &wrong) {
		e.fail(key, "it is no regular expression: "+wrong.Code.String(), "")
	}
}

// rename reads one entry of rewrite.
func (e *external) rename(r externalRewrite, key string) plan.Rename {
	kinds := 0
	var out plan.Rename
	if r.Regexp != nil {
		kinds++
		e.expression(r.Regexp.Source, key+".regexp.source")
		out.Regexp = &plan.RenameRegexp{Match: r.Regexp.Source, Replace: r.Regexp.Target}
	}
	if r.Transform != nil {
		kinds++
		if out.Transform = r.Transform.Template; out.Transform == "" {
			e.fail(key+".transform.template", "it is empty, and so would be every key", "")
		}
	}
	if r.Merge != nil {
		kinds++
		out.Merge = e.merge(r.Merge, key+".merge")
	}
	if kinds != 1 {
		e.fail(key, "it must have one of regexp, transform and merge", "write one entry for each")
	}
	return out
}

func (e *external) merge(m *externalMerge, key string) *plan.RenameMerge {
	out := &plan.RenameMerge{
		IgnoreConflict: m.ConflictPolicy == "Ignore", Priority: m.Priority, IgnoreMissing: m.PriorityPolicy == "IgnoreNotFound",
	}
	switch {
	case m.Strategy == "JSON" && m.Into == "":
		e.fail(key+".into", "it is missing", "name the key that gets the whole")
	case m.Strategy == "JSON":
		out.Into = m.Into
	case m.Into != "":
		e.ignore(key+".into", "it is for strategy: JSON; here every member is a key of its own")
	}
	return out
}
