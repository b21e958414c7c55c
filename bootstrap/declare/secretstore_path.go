package declare

import (
	"path"
	"slices"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// isV2 reports whether the store's secrets are in a KV of version 2, which is
// what a store without a version means.
func (s *store) isV2() bool { return s.spec.Version != "v1" }

// dataPath makes the path of a request from a key, as the original does: what
// users have stored is where the original looks for it. So the mount's name in
// front of a key is taken away, and a folder that has the same name as its mount
// cannot be reached (secret/inner in the mount secret is inner), which is a bug
// there and cannot be told from the common spelling with the mount here either.
//
// One thing is not copied: a slash before the key of a store without a path,
// which made every request one to the mount data.
func (s *store) dataPath(key string) (p, why string) {
	mount := s.spec.Path
	switch {
	case mount != "":
		if rest, ok := strings.CutPrefix(key, mount+"/"); ok {
			key = rest
			if s.isV2() {
				key = strings.TrimPrefix(key, "data/")
			}
		}
		if s.isV2() {
			mount += "/data"
		}
		key = mount + "/" + key
	case s.isV2() && !strings.Contains(key, "/data/"):
		first, rest, _ := strings.Cut(strings.TrimLeft(key, "/"), "/")
		key = first + "/data/" + rest
	}
	return cleanPath(key)
}

// cleanPath drops the slashes that are too many, as the original's client does,
// but climbs nowhere.
func cleanPath(s string) (p, why string) {
	if slices.ContainsFunc(strings.Split(s, "/"), func(e string) bool { return e == "." || e == ".." }) {
		return "", "the path has a . or .. element"
	}
	return vaultPath(path.Clean(s))
}

// metadataPath makes the path of what KV version 2 says about a secret. The
// original builds it apart from the data's and then looks for secret/app in the
// mount secret at secret/metadata/secret/app; ours is always that of the data.
func (s *store) metadataPath(key string) (p, why string) {
	if !s.isV2() {
		return "", "KV version 1 has no metadata"
	}
	if p, why = s.dataPath(key); why != "" {
		return "", why
	}
	mount := plan.SplitPath(path.Clean("/" + s.spec.Path))
	if mount == "" {
		return strings.TrimSuffix(strings.Replace(p+"/", "/data/", "/metadata/", 1), "/"), ""
	}
	return mount + "/metadata" + strings.TrimPrefix(p, mount+"/data"), ""
}

// find makes the paths of a search. The keys that are found keep the folder that
// was searched, whatever the original's documentation says. Folders are gone
// into in both versions of KV.
func (s *store) find(folder string) (f plan.Find, why string) {
	if folder != "" {
		f.Base = strings.TrimRight(folder, "/") + "/"
	}
	var list, read string
	switch mount := s.spec.Path; {
	case mount != "" && s.isV2():
		list, read = mount+"/metadata/"+f.Base, mount+"/data/"+f.Base
	case mount != "":
		list, read = mount+"/"+f.Base, mount+"/"+f.Base
	case s.isV2() && strings.Contains(f.Base, "/data/"):
		list, read = strings.Replace(f.Base, "/data/", "/metadata/", 1), f.Base
	default:
		return plan.Find{}, "the store has no path, so it is not known what to list"
	}
	if f.List, why = cleanPath(list); why != "" {
		return plan.Find{}, why
	}
	f.Read, why = cleanPath(read)
	return f, why
}
