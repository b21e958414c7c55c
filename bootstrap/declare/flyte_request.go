package declare

import (
	"encoding/base32"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// flyteRequest is one secret that a task asks for.
//
// https://github.com/flyteorg/flyte/blob/master/flyteidl/protos/flyteidl/core/security.proto
type flyteRequest struct {
	group, version, key string
	mount, envVar       string
	unknown             bool // the version is a word that Flyte does not know
	managed             bool // read from what Flyte's Vault manager wrote
	origin              plan.Origin
}

// The words of group_version, and of mount_requirement by their numbers.
const (
	flyteKV1 = "kv1"
	flyteKV2 = "kv2"
	flyteDB  = "db"

	flyteEnvVar = "ENV_VAR"
)

func flyteMounts() []string { return []string{"ANY", flyteEnvVar, "FILE"} }

// path identifies the file of a request.
func (r flyteRequest) path() string {
	return strings.TrimPrefix(path.Join("/", r.group+"/"+r.key), "/")
}

// fileName is the path of the file, below the folder.
func (r flyteRequest) fileName(prefix string) string {
	folder, name := path.Split(r.path())
	return folder + prefix + name
}

func (r flyteRequest) inFile() bool { return r.mount != flyteEnvVar }

// variable gives the name of the variable that a request wants; "" for none. It is
// the one that flytekit looks for, unless the request names another.
func (r flyteRequest) variable(in Input) string {
	if r.envVar != "" || r.inFile() {
		return r.envVar
	}
	prefix, set := in.variable(flyteEnvPrefix)
	if !set {
		prefix = "_FSEC_"
	}
	return prefix + strings.ToUpper(r.group+"_"+r.key)
}

// template makes the file: what Flyte's Vault manager writes, but that a key may
// have any characters. For a database it is the injector's default, KEY: VALUE.
func (r flyteRequest) template() *plan.Template {
	t := &plan.Template{Name: r.origin.Key}
	switch secret, key := strconv.Quote(r.group), strconv.Quote(r.key); r.version {
	case flyteDB:
		t.Text = injectorMap(r.group)
	case flyteKV1:
		t.Text = fmt.Sprintf("{{- with secret %s -}}{{ index .Data %s }}{{- end -}}", secret, key)
	default:
		t.Text = fmt.Sprintf("{{- with secret %s -}}{{ index .Data.data %s }}{{- end -}}", secret, key)
	}
	return t
}

// decodeFlyteRequest reads the value of an annotation: the text form of the
// message in base32, with the letters a-z and 1-6.
func decodeFlyteRequest(value string) (flyteRequest, error) {
	text, err := base32.NewEncoding("abcdefghijklmnopqrstuvwxyz123456").WithPadding(base32.NoPadding).DecodeString(value)
	if err != nil {
		return flyteRequest{}, errors.New("it is not in Flyte's base32")
	}
	fields, err := readProtoText(string(text))
	if err != nil {
		return flyteRequest{}, err
	}
	var r flyteRequest
	to := map[string]*string{"group": &r.group, "group_version": &r.version, "key": &r.key, "env_var": &r.envVar}
	for _, f := range fields {
		member, known := to[f.name]
		switch {
		case known && f.quoted:
			*member = f.text
		case f.name == "mount_requirement" && !f.quoted:
			if r.mount, err = flyteMount(f.text); err != nil {
				return flyteRequest{}, err
			}
		case known || f.name == "mount_requirement":
			return flyteRequest{}, fmt.Errorf("the value of %s is of another kind", f.name)
		default:
			return flyteRequest{}, errors.New("it has a field that is unknown; the fields are group, group_version, key, mount_requirement and env_var")
		}
	}
	switch r.version = strings.ToLower(r.version); r.version {
	case "", flyteKV1, flyteKV2, flyteDB:
	default:
		r.version, r.unknown = "", true
	}
	return r, nil
}

// flyteMount reads an enum by its name or number.
func flyteMount(text string) (string, error) {
	words := flyteMounts()
	if n, err := strconv.Atoi(text); err == nil && n >= 0 && n < len(words) {
		return words[n], nil
	}
	if slices.Contains(words, text) {
		return text, nil
	}
	return "", errors.New("mount_requirement must be one of " + strings.Join(words, ", "))
}
