package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/secretboot/secretboot/bootstrap/declare"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/bootstrap/vault"
)

// client is the client of a script, and what it has read last.
type client struct {
	*vault.Client
	read secret.Secret
}

// cmdClient serves `client WORD …`: the client of Vault by itself, for what a
// long run does with it over hours.
//
//	client login [file]       log in by AppRole, or with the token in a file
//	client read PATH          one try
//	client newest PATH        which version is the newest
//	client lease              how long our token lives
//	client renew-token TIME   ask for more
//	client renew TIME         ask for more for what was read last
//	client hold TIME          renew that at two thirds of its life until it is lost; after each
//	                          renewal its user and password must be good for the database
//	client relogin, client close
//
// What it answered is a line in the file answer; an error says what it is.
func cmdClient(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: client WORD …")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	state := current(ts)
	if args[0] == "login" {
		state.client = newClient(ts, args[1:])
		ts.Defer(func() { _ = state.client.Close(ctx) })
	}
	answer, err := state.client.do(ctx, ts, args)
	if err != nil {
		answer = fmt.Sprintf("error %d: %v", plan.CodeOf(err), err)
		for name, kind := range map[string]error{"lease lost": vault.ErrLeaseLost, "token lost": vault.ErrTokenLost, "no relogin": vault.ErrNoRelogin} {
			if errors.Is(err, kind) {
				answer += " (" + name + ")"
			}
		}
	}
	ts.Logf("client %s: %s", strings.Join(args, " "), answer)
	ts.Check(os.WriteFile(ts.MkAbs("answer"), []byte(answer+"\n"), 0o600))
}

func newClient(ts *testscript.TestScript, file []string) *client {
	inputs := map[string]plan.Handle{}
	for input, name := range map[string]string{"role_id": "VAULT_ROLE_ID", "secret_id": "VAULT_SECRET_ID"} {
		inputs[input] = plan.Handle{Kind: plan.HandleEnv, Name: name}
	}
	if len(file) > 0 {
		inputs = map[string]plan.Handle{"token": {Kind: plan.HandleFile, Name: ts.MkAbs(file[0])}}
	}
	in := declare.Input{Lookup: func(name string) (string, bool) { v := ts.Getenv(name); return v, v != "" }}
	c, err := vault.Prepare(vault.Options{
		Vault: plan.Vault{Address: plan.Set(ts.Getenv("VAULT_ADDR"), plan.Origin{})}, Login: plan.Login{Inputs: inputs},
		Resolve: func(h plan.Handle) ([]byte, error) {
			if h.Kind == plan.HandleFile {
				return os.ReadFile(h.Name)
			}
			return declare.Resolve(in, h)
		},
		Log: slog.New(slog.DiscardHandler),
	})
	ts.Check(err)
	return &client{Client: c}
}

func (c *client) do(ctx context.Context, ts *testscript.TestScript, args []string) (string, error) {
	length := func() time.Duration {
		d, err := time.ParseDuration(args[1])
		ts.Check(err)
		return d
	}
	switch args[0] {
	case "login":
		return "logged in", c.Login(ctx)
	case "relogin":
		return "logged in", c.Relogin(ctx)
	case "close":
		return "closed", c.Close(ctx)
	case "read":
		got, err := c.Attempt()(ctx, plan.Read{Path: args[1]}, nil)
		if err == nil {
			c.read = got
		}
		return fmt.Sprintf("version %d ttl %v renewable %v", got.Version, got.Lease, got.Renewable), err
	case "newest":
		version, ok, err := c.CurrentVersion(ctx, plan.Read{Path: args[1]})
		return fmt.Sprintf("version %d %v", version, ok), err
	case "lease":
		return life(c.TokenLease(ctx))
	case "renew-token":
		return life(c.RenewToken(ctx, length()))
	case "renew":
		return life(c.RenewLease(ctx, c.read.LeaseID, length()))
	case "hold":
		return c.hold(ctx, ts, length())
	}
	ts.Fatalf("client: unknown word %s", args[0])
	return "", nil
}

// life is the answer for a lease, in whole seconds, rounded up.
func life(l secret.Lease, err error) (string, error) {
	return fmt.Sprintf("ttl %d renewable %v", (l.TTL+time.Second-1)/time.Second, l.Renewable), err
}

// hold renews until there is nothing to renew any more.
func (c *client) hold(ctx context.Context, ts *testscript.TestScript, increment time.Duration) (string, error) {
	began, ttl := time.Now(), c.read.Lease
	for n := 0; ; n++ {
		c.logIn(ts)
		select {
		case <-time.After(ttl * 2 / 3):
		case <-ctx.Done():
			return "", ctx.Err()
		}
		l, err := c.RenewLease(ctx, c.read.LeaseID, increment)
		switch {
		case errors.Is(err, vault.ErrLeaseLost):
			return fmt.Sprintf("renewed %d times, for %d s", n, time.Since(began).Round(time.Second)/time.Second), nil
		case err != nil:
			return "", err
		case l.TTL > increment:
			ts.Fatalf("%v was given, and %v asked for", l.TTL, increment)
		}
		ttl = l.TTL
	}
}

// logIn logs in to the database with what was read last.
func (c *client) logIn(ts *testscript.TestScript) {
	fields := c.read.Fields().Reveal()
	cmd := exec.Command("psql", "-X", "-w", "-At", "-c", "select 1")
	cmd.Env = []string{
		"PATH=" + ts.Getenv("PATH"), "PGHOST=" + ts.Getenv("PGHOST"), "PGPORT=" + ts.Getenv("PGPORT"), "PGDATABASE=" + ts.Getenv("PGDATABASE"),
		fmt.Sprintf("PGUSER=%v", fields["username"]), fmt.Sprintf("PGPASSWORD=%v", fields["password"]),
	}
	initdb, err := packageBinary("initdb", postgresPlaces)
	ts.Check(err)
	cmd.Path = strings.TrimSuffix(initdb, "initdb") + "psql"
	if out, err := cmd.CombinedOutput(); err != nil {
		ts.Fatalf("what was read is not good any more: %v\n%s", err, out)
	}
}
