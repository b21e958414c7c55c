package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/process/mask"
)

// known keeps values that were read, under the names that reports give them.
type known struct {
	mu     sync.Mutex // guards values
	values []mask.Secret
}

// addFields keeps every text in a secret, those inside of maps and lists too.
func (k *known) addFields(path string, fields map[string]any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		k.add(path+"#"+name, fields[name])
	}
}

func (k *known) add(name string, value any) {
	switch v := value.(type) {
	case string:
		if v != "" {
			k.values = append(k.values, mask.Secret{Name: name, Value: []byte(v)})
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			k.add(name+"."+key, v[key])
		}
	case []any:
		for i, one := range v {
			k.add(name+"."+strconv.Itoa(i), one)
		}
	case json.Number, bool, nil: // a number is looked for where it is declared
	}
}

// addMade keeps the value of a declaration where it is not that of a field as it
// is: one that was decoded, a number, a default.
func (k *known) addMade(m bootstrap.Made) {
	name := "variable " + m.Name
	if m.Name == "" {
		name = "file " + strconv.Quote(m.Path)
	}
	k.addText(name, m.Content.Reveal())
}

// addText keeps a copy of one text, where it is not known by another name.
func (k *known) addText(name string, text []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	same := func(have mask.Secret) bool { return bytes.Equal(bytes.TrimSpace(have.Value), bytes.TrimSpace(text)) }
	if len(text) == 0 || slices.ContainsFunc(k.values, same) {
		return
	}
	k.values = append(k.values, mask.Secret{Name: name, Value: bytes.Clone(text)})
}

// take gives what was kept since the last time, to be wiped by the caller.
func (k *known) take() []mask.Secret {
	k.mu.Lock()
	defer k.mu.Unlock()
	values := k.values
	k.values = nil
	return values
}

func wipeValues(values []mask.Secret) {
	for _, v := range values {
		clear(v.Value)
	}
}
