package plan

import (
	"fmt"
	"net/url"
	"strings"
)

// View is a Plan as it is shown: names, places and settings, no secret and no
// text of a template. Its JSON field names are stable: a field may be added,
// none changes its meaning. Every list is there even when it is empty.
type View struct {
	Settings []ViewSetting `json:"settings"`
	Headers  []ViewInput   `json:"headers"` // "*" is an object of more of them
	Login    []ViewInput   `json:"login"`
	Found    []ViewInput   `json:"found"` // login inputs that nobody declared, of which one may be used
	KV       []ViewKV      `json:"kv"`
	Reads    []ViewRead    `json:"reads"`
	Computed []string      `json:"computed"` // where templates are declared that read further paths, known only when they run
	Files    []ViewFile    `json:"files"`
	FileSets []ViewFileSet `json:"file_sets"`
	Env      []ViewEnv     `json:"env"`
	EnvSets  []ViewEnvSet  `json:"env_sets"`
	Command  string        `json:"command"`      // the program; "" when none is declared
	Args     int           `json:"command_args"` // how many arguments: their text may hold a secret
	Ignored  []ViewIgnored `json:"ignored"`
}

// ViewSetting is one setting that was set. Name is its key in a configuration
// file. A password inside a URL is not shown, nor is an inline certificate.
type ViewSetting struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

// ViewInput is one login input, or one header of every request, and the place
// where its text is found.
type ViewInput struct {
	Name   string `json:"name"`
	From   string `json:"from"` // env:NAME, file:PATH or FILE#KEY
	Origin string `json:"origin"`
}

// ViewKV is the declared version of a KV mount.
type ViewKV struct {
	Mount   string `json:"mount"`
	Version string `json:"version"` // 1, 2, auto or literal
}

// ViewRead is one request; references to the same secret share it.
type ViewRead struct {
	Operation string `json:"operation"` // read, write or list
	Path      string `json:"path"`
	KV        string `json:"kv"`
	Version   int    `json:"version"` // 0 is the newest
	Optional  bool   `json:"optional"`
	Origin    string `json:"origin"`

	// Sends are the names in the body of a write, sorted; not their texts.
	Sends []string `json:"sends"`

	Else  []string `json:"else"`            // tried where the path has no secret or is refused
	Finds string   `json:"finds,omitempty"` // of a list: below which path each secret that it names is read
}

// ViewFile is one file.
type ViewFile struct {
	Path     string     `json:"path"`
	Mode     string     `json:"mode"` // octal, such as 0400
	Owner    string     `json:"owner"`
	Group    string     `json:"group"`
	Optional bool       `json:"optional"`
	Source   ViewSource `json:"source"`
	Origin   string     `json:"origin"`
	Memfd    string     `json:"memfd,omitempty"`   // the variable that leads to it
	Rotation string     `json:"rotation"`          // how often it is read again, and what follows; "" is never
	Command  string     `json:"command,omitempty"` // the program that is run once it is there
	Args     int        `json:"command_args,omitempty"`
}

// ViewFileSet is one declaration of many files.
type ViewFileSet struct {
	Dir    string     `json:"dir"`
	Mode   string     `json:"mode"`
	Owner  string     `json:"owner"`
	Group  string     `json:"group"`
	Source ViewSource `json:"source"`
	Origin string     `json:"origin"`

	Optional bool   `json:"optional"`
	Rotation string `json:"rotation"`
}

// ViewEnv is one variable of the command.
type ViewEnv struct {
	Name     string     `json:"name"`
	Optional bool       `json:"optional"`
	Source   ViewSource `json:"source"`
	Origin   string     `json:"origin"`
	Rotation string     `json:"rotation"`
}

// ViewEnvSet is one declaration of many variables.
type ViewEnvSet struct {
	Prefix string     `json:"prefix"`
	Source ViewSource `json:"source"`
	Origin string     `json:"origin"`

	Optional  bool     `json:"optional"`
	Upcase    bool     `json:"upcase"`
	Allow     []string `json:"allow"`
	Duplicate string   `json:"duplicate"`
	Rotation  string   `json:"rotation"`

	Take map[string]string `json:"take,omitempty"` // fields by the name of their variable; the other fields are not taken

	AnyName bool `json:"any_name,omitempty"` // names that no shell could use are delivered too
}

// ViewIgnored is a part of a declaration that has no effect.
type ViewIgnored struct {
	What   string `json:"what"`
	Why    string `json:"why"`
	Origin string `json:"origin"`
}

// NewView gives the plan as it is shown.
func NewView(p Plan) View {
	v := View{
		Settings: viewSettings(&p), Headers: viewHandles(p.Vault.Headers), Login: viewHandles(p.Login.Inputs),
		Found: viewHandles(p.Login.Ambient), KV: []ViewKV{}, Reads: viewReads(p), Computed: []string{},
		Files: []ViewFile{}, FileSets: []ViewFileSet{}, Env: []ViewEnv{}, EnvSets: []ViewEnvSet{}, Ignored: []ViewIgnored{},
	}
	if h := p.Vault.HeaderSet; h.Kind != HandleNone {
		v.Headers = append(v.Headers, ViewInput{"*", h.place(), h.Origin.String()})
	}
	for _, mount := range sortedKeys(p.Vault.KV) {
		v.KV = append(v.KV, ViewKV{mount, p.Vault.KV[mount].String()})
	}
	for _, o := range p.Computed {
		v.Computed = append(v.Computed, o.String())
	}
	for _, f := range p.Files {
		v.Files = append(v.Files, viewFile(f, p.Refresh))
	}
	for _, s := range p.Sets {
		v.FileSets = append(v.FileSets, viewFileSet(s, p.Refresh))
	}
	for _, e := range p.Env {
		v.Env = append(v.Env, ViewEnv{e.Name, e.Optional, viewSource(e.Source), e.Origin.String(), rotation(e.Refresh, p.Refresh)})
	}
	for _, s := range p.EnvSets {
		v.EnvSets = append(v.EnvSets, viewEnvSet(s, p.Refresh))
	}
	if len(p.Run.Command) > 0 {
		v.Command, v.Args = p.Run.Command[0], len(p.Run.Command)-1
	}
	for _, i := range p.Ignored {
		v.Ignored = append(v.Ignored, ViewIgnored{i.What, i.Why, i.Origin.String()})
	}
	return v
}

func viewHandles(handles map[string]Handle) []ViewInput {
	shown := []ViewInput{}
	for _, name := range sortedKeys(handles) {
		h := handles[name]
		shown = append(shown, ViewInput{name, h.place(), h.Origin.String()})
	}
	return shown
}

func viewFile(f File, all Refresh) ViewFile {
	v := ViewFile{
		Path: f.Path, Mode: octal(f.Mode, f.Group), Owner: f.Owner, Group: f.Group,
		Optional: f.Optional, Source: viewSource(f.Source), Origin: f.Origin.String(), Rotation: rotation(f.Refresh, all),
	}
	if f.Memfd {
		v.Memfd = f.Variable()
	}
	if argv := f.Command.Argv; len(argv) > 0 {
		v.Command, v.Args = argv[0], len(argv)-1
	}
	return v
}

func viewFileSet(s FileSet, all Refresh) ViewFileSet {
	return ViewFileSet{
		Dir: s.Dir, Mode: octal(s.Mode, s.Group), Owner: s.Owner, Group: s.Group,
		Source: viewSet(s.Ref, s.Bundle), Origin: s.Origin.String(),
		Optional: s.Bundle == nil && s.Ref.Read.Optional, Rotation: rotation(s.Refresh, all),
	}
}

func viewEnvSet(s EnvSet, all Refresh) ViewEnvSet {
	return ViewEnvSet{
		Prefix: s.Prefix, Source: viewSet(s.Ref, s.Bundle), Origin: s.Origin.String(),
		Optional: s.Bundle == nil && s.Ref.Read.Optional, Upcase: s.Upcase,
		Allow: append([]string{}, s.Allow...), Duplicate: s.Duplicate.String(), Rotation: rotation(s.Refresh, all), Take: s.Take,
		AnyName: s.AnyName,
	}
}

// rotation says how often something is read again and what follows a change;
// all is what the plan says for those that say nothing of their own.
func rotation(own, all Refresh) string {
	every, change := own.Every, own.OnChange
	if !every.IsSet {
		every = all.Every
	}
	if !change.IsSet {
		change = all.OnChange
	}
	var parts []string
	if every.Or(0) > 0 {
		parts = append(parts, "every "+Period(every.Value))
	}
	if change.Value.Kind != ActionNone {
		parts = append(parts, "on change "+change.Value.String())
	}
	return strings.Join(parts, ", ")
}

func viewSettings(p *Plan) []ViewSetting {
	shown := []ViewSetting{}
	for _, s := range p.settings() {
		if s.isSet() {
			shown = append(shown, ViewSetting{s.name, showSetting(s), s.from().String()})
		}
	}
	for _, name := range sortedKeys(p.Login.Params) {
		if s := p.Login.Params[name]; s.IsSet {
			shown = append(shown, ViewSetting{"vault.auth." + name, showParam(name, s.Value), s.Origin.String()})
		}
	}
	return shown
}

// showSetting keeps a password that somebody put into a URL to itself, and
// spares the reader a page of base64.
func showSetting(s named) string {
	switch s.name {
	case "vault.address", "vault.proxy":
		return showURL(s.text())
	case "vault.tls.ca_cert_pem":
		return fmt.Sprintf("inline, %d bytes", len(s.text()))
	}
	if list, ok := s.setting.(*Setting[[]string]); ok {
		return strings.Join(list.Value, ", ")
	}
	return s.text()
}

// showParam tells the parameters that are URLs by their names.
func showParam(name, text string) string {
	if strings.HasSuffix(name, "_endpoint") {
		return showURL(text)
	}
	return text
}

// showURL leaves out what may be a credential: the user, who may be an API key,
// and the query.
func showURL(s string) string {
	if !strings.ContainsAny(s, "@?#") {
		return s
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return "not shown: it may hold a password"
	}
	if u.User != nil {
		u.User = url.User("xxxxx")
	}
	if u.RawQuery != "" {
		u.RawQuery = "xxxxx"
	}
	u.Fragment = ""
	return u.String()
}
