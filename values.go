package main

import (
	"bytes"
	"encoding/json"
	"hash/maphash"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/process/mask"
)

// known keeps values that were read, under the names that reports give them.
type known struct {
	mu     sync.Mutex // guards all below
	values []mask.Secret

	// places has the values by a hash of their texts without the white space around
	// them: a map of the texts would be a copy of each that nobody wipes. Those up
	// to noted are in it.
	places map[uint64][]int
	noted  int
	seed   maphash.Seed
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
	if len(text) == 0 || k.has(bytes.TrimSpace(text)) {
		return
	}
	k.values = append(k.values, mask.Secret{Name: name, Value: bytes.Clone(text)})
}

// has reports whether a text is there, whatever white space is around it.
func (k *known) has(text []byte) bool {
	if k.places == nil {
		k.places, k.seed = map[uint64][]int{}, maphash.MakeSeed()
	}
	for ; k.noted < len(k.values); k.noted++ {
		sum := maphash.Bytes(k.seed, bytes.TrimSpace(k.values[k.noted].Value))
		k.places[sum] = append(k.places[sum], k.noted)
	}
	return slices.ContainsFunc(k.places[maphash.Bytes(k.seed, text)], func(i int) bool {
		return bytes.Equal(bytes.TrimSpace(k.values[i].Value), text)
	})
}

// take gives what was kept since the last time, to be wiped by the caller.
func (k *known) take() []mask.Secret {
	k.mu.Lock()
	defer k.mu.Unlock()
	values := k.values
	k.values, k.places, k.noted = nil, nil, 0
	return values
}

func wipeValues(values []mask.Secret) {
	for _, v := range values {
		clear(v.Value)
	}
}
