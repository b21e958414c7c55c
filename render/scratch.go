package render

import (
	"maps"
	"slices"
)

// scratch is what the function scratch gives: values that a template keeps by
// name while it is executed. Its methods are consul-template's, but a missing
// value cannot be kept.
type scratch struct {
	r      *run
	values map[string]any
}

func (*scratch) name() (string, string) {
	return "a whole scratch", "name a key of it: scratch.Get KEY"
}

// Key reports whether the key was set.
func (s *scratch) Key(key string) bool {
	_, ok := s.values[key]
	return ok
}

// Get gives the value of a key; one that was never set is a missing value.
func (s *scratch) Get(key string) any { return s.values[key] }

// Set keeps a value. Like its companions it prints nothing.
func (s *scratch) Set(key string, v any) (string, error) { return s.set(s.values, key, v, true) }

// SetX keeps a value unless the key has one already.
func (s *scratch) SetX(key string, v any) (string, error) { return s.set(s.values, key, v, false) }

// MapSet keeps a value under a key of the map that is kept under another.
func (s *scratch) MapSet(key, inner string, v any) (string, error) {
	return s.mapSet(key, inner, v, true)
}

// MapSetX is MapSet unless the inner key has a value already.
func (s *scratch) MapSetX(key, inner string, v any) (string, error) {
	return s.mapSet(key, inner, v, false)
}

// MapValues gives the values of a map in the order of their keys; none for a key
// that was never set.
func (s *scratch) MapValues(key string) ([]any, error) {
	kept, ok := s.values[key].(map[string]any)
	if !ok && s.values[key] != nil {
		return nil, badData("what is kept under this key is no map", "")
	}
	list := []any{}
	for _, inner := range slices.Sorted(maps.Keys(kept)) {
		list = append(list, kept[inner])
	}
	return list, s.r.spend(1 + len(list))
}

func (s *scratch) mapSet(key, inner string, v any, replace bool) (string, error) {
	if s.values[key] == nil {
		s.values[key] = map[string]any{}
	}
	kept, ok := s.values[key].(map[string]any)
	if !ok {
		return "", badData("what is kept under this key is no map", "")
	}
	return s.set(kept, inner, v, replace)
}

func (s *scratch) set(into map[string]any, key string, v any, replace bool) (string, error) {
	switch _, there := into[key]; {
	case v == nil && s.r.scouting():
		return "", nil // it may come from what is lacking
	case v == nil:
		return "", missing("the value to keep is missing", "give it a value with default")
	case replace || !there:
		into[key] = v
	}
	return "", s.r.spend(1 + size(v))
}
