package vault

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// maxMetadata bounds the answer about a secret's versions, in bytes: each takes
// up to 400.
const maxMetadata = 256 << 10

// CurrentVersion tells which version of a KV version 2 secret is the newest, in
// one try and without its value
// (https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2#read-secret-metadata).
// It is 0 when there is nothing to read: the newest is deleted or destroyed, or
// there is none yet. So it changes whenever what a read gives may change.
//
// ok is false where the value has to be read instead: r is no read of the newest
// version of one KV version 2 secret, there is no such secret, or we do not get
// its metadata because the policy forbids it or it is too large. A folder that
// was refused and a secret that was too large are not asked about again before
// the next login. The error is a *plan.Problem and says nothing of the secret.
func (c *Client) CurrentVersion(ctx context.Context, r plan.Read) (version int, ok bool, err error) {
	if r.Op != plan.OpRead || r.Version != 0 || r.KV == plan.KV1 || len(r.Else) > 0 {
		return 0, false, nil
	}
	ctx = oneTry(ctx)
	path, ok, err := c.metadataPath(ctx, r)
	if err != nil || !ok || c.isBlind(path) {
		return 0, false, plan.At(err, r.Origin)
	}
	ans, err := c.do(ctx, request{method: http.MethodGet, path: path, limit: maxMetadata})
	var f *fault
	switch {
	case err == nil:
	case errors.As(err, &f) && f.code == plan.CodeDenied && f.kind == nil:
		c.blindTo(folder(path) + "/")
		return 0, false, nil
	case errors.Is(err, errTooLarge):
		c.blindTo(path)
		return 0, false, nil
	case f != nil && (f.code == plan.CodeMissing || f.code == plan.CodeConfig):
		return 0, false, nil
	default:
		return 0, false, plan.At(err, r.Origin)
	}
	version, ok = newest(ans.Data, time.Now())
	if !ok { // it is no such metadata after all
		c.blindTo(path)
	}
	return version, ok, nil
}

// metadataPath gives where the metadata of what r reads is. Of a mount that
// neither the plan nor the server tells about, that an answer had the form of KV
// version 2 is the proof.
func (c *Client) metadataPath(ctx context.Context, r plan.Read) (path string, ok bool, err error) {
	paths, err := c.paths(ctx, r)
	if err != nil {
		return "", false, err
	}
	for _, path := range paths {
		at, found, known := c.kv.find(path)
		if !known {
			if !c.isProven(r, path) {
				continue
			}
			at, found, err = c.askMount(ctx, path)
		}
		switch {
		case errors.Is(err, errNotTold):
			at, _, _ = strings.Cut(path, "/data/")
		case err != nil:
			return "", false, err
		case found.rule != plan.KV2:
			continue
		}
		if below, is := strings.CutPrefix(path, at+"/data/"); is && below != "" {
			return at + "/metadata/" + below, true, nil
		}
	}
	return "", false, nil
}

// isProven reports whether r had an answer at path that has a version.
func (c *Client) isProven(r plan.Read, path string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.book.reads[asked(r, path)]
	return e != nil && e.Version > 0
}

func (c *Client) isBlind(path string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.blind[path] || c.blind[folder(path)+"/"]
}

func (c *Client) blindTo(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blind[path] = true
}

// newest reads the metadata of a secret. A time of deletion in the future is no
// deletion yet, and one that cannot be read is none.
func newest(data map[string]any, now time.Time) (version int, ok bool) {
	number, _ := data["current_version"].(json.Number)
	n, err := number.Int64()
	if err != nil || n < 0 || n > 1<<31-1 {
		return 0, false
	}
	versions, _ := data["versions"].(map[string]any)
	state, _ := versions[number.String()].(map[string]any)
	if destroyed, _ := state["destroyed"].(bool); destroyed {
		return 0, true
	}
	when, _ := state["deletion_time"].(string)
	if at, err := time.Parse(time.RFC3339Nano, when); err == nil && !at.After(now) {
		return 0, true
	}
	return int(n), true
}
