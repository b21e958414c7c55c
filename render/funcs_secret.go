package render

import (
	"fmt"
)

// secretFunctions ask for what comes from outside: Vault, the environment, the
// clock.
func secretFunctions() []*function {
	return []*function{
		{name: "secret", fn: func(r *run, args ...string) (any, error) {
			a, err := r.read("secret", args)
			if a == nil || err != nil {
				return nil, err // not a nil *answer: a template would take it for one
			}
			return a, nil
		}},
		{name: "secrets", fn: listKeys},
		{name: "pkiCert", fn: pkiCert},
		{name: "env", fn: func(r *run, name string) string {
			v, _ := r.lookup(name)
			return v
		}},
		{name: "mustEnv", fn: func(r *run, name string) (string, error) {
			v, ok := r.lookup(name)
			if !ok {
				return "", missing("the variable is not set", "set it, or use envOrDefault")
			}
			return v, nil
		}},
		{name: "envOrDefault", fn: func(r *run, name, def string) string {
			if v, ok := r.lookup(name); ok {
				return v
			}
			return def
		}},
		{name: "timestamp", fn: timestamp},
	}
}

func (r *run) lookup(name string) (string, bool) {
	if r.in.Lookup == nil {
		return "", false
	}
	return r.in.Lookup(name)
}

// listKeys gives the names below a path.
func listKeys(r *run, path string) (any, error) {
	a, err := r.read("secrets", []string{path})
	if a == nil || err != nil {
		return nil, err
	}
	list, ok := a.Data["keys"].([]any)
	if !ok {
		return nil, missing("the answer has no list of keys", "")
	}
	keys := make([]string, 0, len(list))
	for _, key := range list {
		s, ok := key.(string)
		if !ok {
			return nil, badData("a key of the list is not text", "")
		}
		keys = append(keys, s)
	}
	return keys, nil
}

// timestamp gives the time now (RFC 3339), in a layout of package time, or as
// "unix" seconds.
func timestamp(r *run, layout ...string) (string, error) {
	now := r.now()
	switch {
	case len(layout) == 0:
		return now.Format("2006-01-02T15:04:05Z07:00"), nil
	case len(layout) > 1:
		return "", badData("timestamp wants one layout at most", "")
	case layout[0] == "unix":
		return fmt.Sprint(now.Unix()), nil
	}
	return now.Format(layout[0]), nil
}
