package bootstrap

import (
	"encoding/json"
	"log/slog"
	"maps"
	"reflect"
	"time"

	"github.com/secretboot/secretboot/bootstrap/lease"
)

// overdue reports whether an answer is of a static role that Vault should have
// rotated by now.
func overdue(data map[string]any) bool {
	_, rotates := data["last_vault_rotation"]
	ttl, ok := data["ttl"].(json.Number)
	n, err := ttl.Int64()
	return rotates && ok && err == nil && n <= 0
}

// sameRotation compares two answers of a static role but for what is left of them.
func sameRotation(x, y map[string]any) bool {
	x, y = maps.Clone(x), maps.Clone(y)
	delete(x, "ttl")
	delete(y, "ttl")
	return reflect.DeepEqual(x, y)
}

// renewLife is for what was read again and says the same: a poll, or the password
// of a static role that Vault has not rotated after all, which is still the one.
func (k *keeper) renewLife(now time.Time, t *thing) {
	if t.leaseID != "" || t.life.TTL <= 0 {
		k.schedule(t, now)
		return
	}
	t.failures++
	wait := lease.Late(t.failures, k.Chance())
	t.due = now.Add(wait)
	t.life = lease.Rotated(now, wait)
	say := k.log.Debug
	if t.failures == lateTries {
		say = k.log.Warn
	}
	say("a static role is due and was not rotated yet; its password stays as it is",
		slog.String("secret", t.need.Read.Path), slog.String("retry_in", wait.Round(time.Second).String()))
}

// lateTries is how often Vault is found late before that is worth a word: it looks for
// what it has to rotate every five seconds.
const lateTries = 4
