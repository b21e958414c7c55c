package vault

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// mounts knows which version the KV engine at a path has: from the
// configuration, from the path itself, or from the server, which is asked at
// most once per mount (once per folder where it does not say what the mount is).
type mounts struct {
	mu      sync.Mutex
	known   map[string]mount       // by mount path without slashes at the ends
	asking  map[string]*sync.Mutex // by first path element: one question at a time
	refused map[string]bool        // the server does not tell us about what is in these folders
}

// mount is what is known of one mount.
type mount struct {
	rule plan.KVRule
	kv   bool // a KV engine of either version: reading twice changes nothing
}

func newMounts(configured map[string]plan.KVRule) *mounts {
	m := &mounts{known: map[string]mount{}, asking: map[string]*sync.Mutex{}, refused: map[string]bool{}}
	for path, rule := range configured {
		if rule != plan.KVAuto {
			m.known[plan.SplitPath(path)] = mount{rule: rule, kv: true}
		}
	}
	return m
}

// find gives the longest known mount that path is in.
func (m *mounts) find(path string) (at string, found mount, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for at = path; ; {
		if found, ok = m.known[at]; ok {
			return at, found, true
		}
		i := strings.LastIndexByte(at, '/')
		if i < 0 {
			return "", mount{}, false
		}
		at = at[:i]
	}
}

// safe reports whether reading path twice is known to change nothing.
func (m *mounts) safe(path string) bool {
	_, found, ok := m.find(path)
	return saysItself(path) || (ok && found.kv)
}

func (m *mounts) lock(first string) *sync.Mutex {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asking[first] == nil {
		m.asking[first] = &sync.Mutex{}
	}
	return m.asking[first]
}

// folder is what path is directly in. A mount is always above or at it, so all
// of one folder is in one mount; a first path element may hold several.
func folder(path string) string {
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		return path[:i]
	}
	return path
}

func (m *mounts) isRefused(path string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refused[folder(path)]
}

func (m *mounts) refuse(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refused[folder(path)] = true
}

func (m *mounts) learn(at string, what mount) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known[at] = what
}

// saysItself is plan.SaysKV2.
func saysItself(path string) bool { return plan.SaysKV2(path) }

// errNotTold is why a mount stays unknown: the server does not say.
var errNotTold = errors.New("vault: the server does not tell the mount")

// askMount asks the server which mount path is in. It needs no privilege beyond
// access to something below that mount
// (https://developer.hashicorp.com/vault/api-docs/system/internal-ui-mounts).
// Any error but errNotTold is final: a time-out must not become a guess.
func (c *Client) askMount(ctx context.Context, path string) (string, mount, error) {
	first, _, _ := strings.Cut(path, "/")
	l := c.kv.lock(first)
	l.Lock()
	defer l.Unlock()
	if at, found, ok := c.kv.find(path); ok {
		return at, found, nil
	}
	if c.kv.isRefused(path) {
		return "", mount{}, errNotTold
	}
	ans, err := c.do(ctx, request{method: http.MethodGet, path: "sys/internal/ui/mounts/" + path})
	var f *fault
	if errors.Is(err, ErrTokenLost) { // that says nothing of the path, and the read itself will tell
		return "", mount{}, errNotTold
	}
	if errors.As(err, &f) && (f.code == plan.CodeDenied || f.code == plan.CodeMissing || f.code == plan.CodeConfig) {
		c.kv.refuse(path)
		return "", mount{}, errNotTold
	}
	if err != nil {
		return "", mount{}, err
	}
	at, found, ok := mountOf(ans.Data)
	if !ok {
		c.kv.refuse(path)
		return "", mount{}, errNotTold
	}
	if !strings.HasPrefix(path+"/", at+"/") {
		return "", mount{}, &plan.Problem{
			Code: plan.CodeProtocol, What: "vault: mount of " + path, Why: "the server names a mount that the path is not in",
			Fix: "check that VAULT_ADDR is Vault",
		}
	}
	c.kv.learn(at, found)
	return at, found, nil
}

// mountOf reads the answer of sys/internal/ui/mounts.
func mountOf(data map[string]any) (at string, found mount, ok bool) {
	path, _ := data["path"].(string)
	if at = plan.SplitPath(path); at == "" {
		return "", mount{}, false
	}
	options, _ := data["options"].(map[string]any)
	kind, _ := data["type"].(string)
	found = mount{rule: plan.KV1, kv: kind == "kv" || kind == "generic"}
	if version, _ := options["version"].(string); version == "2" && found.kv {
		found.rule = plan.KV2
	}
	return at, found, true
}

// paths gives the paths to try for a read, best first. There is more than one
// only when the server does not say what the mount is.
func (c *Client) paths(ctx context.Context, r plan.Read) ([]string, error) {
	path := plan.SplitPath(r.Path)
	if r.KV == plan.KVLiteral || r.KV == plan.KV1 || r.Op == plan.OpWrite {
		return []string{path}, nil
	}
	if at, found, ok := c.kv.find(path); ok {
		return []string{byRule(r.Op, at, path, declared(found.rule, r.KV))}, nil
	}
	if r.KV == plan.KVAuto && saysItself(path) {
		return []string{path}, nil
	}
	at, found, err := c.askMount(ctx, path)
	switch {
	case errors.Is(err, errNotTold):
		return guess(r.Op, path, r.KV), nil
	case err != nil:
		return nil, err
	}
	return []string{byRule(r.Op, at, path, declared(found.rule, r.KV))}, nil
}

// declared gives the rule for a read: its own declaration wins.
func declared(found, own plan.KVRule) plan.KVRule {
	if own == plan.KV2 {
		return plan.KV2
	}
	return found
}

// guess is for a server that does not tell: version 2 with the first element
// as the mount, then the path as it is.
func guess(op plan.Op, path string, rule plan.KVRule) []string {
	first, _, _ := strings.Cut(path, "/")
	v2 := byRule(op, first, path, plan.KV2)
	if rule == plan.KV2 || v2 == path {
		return []string{v2}
	}
	return []string{v2, path}
}

// byRule gives the path that is sent.
func byRule(op plan.Op, at, path string, rule plan.KVRule) string { return rule.Path(op, at, path) }
