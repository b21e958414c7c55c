package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The auth methods that a contestant may log in with.
const (
	approle    = "approle"
	kubernetes = "kubernetes"
	given      = "token" // made beforehand: nobody logs in, and nobody revokes it
)

// point is one cell of the design: what all contestants have to do in it.
type point struct {
	n    int           // secrets
	rtt  time.Duration // of the proxy
	tls  bool
	auth string
}

func (p point) String() string {
	wire := "no TLS"
	if p.tls {
		wire = "TLS"
	}
	return fmt.Sprintf("%d secrets, round trip %v, %s, %s", p.n, p.rtt, wire, p.auth)
}

// design is what is measured when no flag chooses cells. The full product of the
// dimensions would take a night; here every level of every dimension occurs, the
// number of secrets with everything else at its least (so that what grows with it
// is seen), the distance with 20 secrets, and TLS and the login both alone and
// together with a distance, which is how they occur in the field.
func design() []point {
	const none, lan, zone, far = 0, time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond
	return []point{
		{1, none, false, approle},
		{20, none, false, approle},
		{100, none, false, approle},
		{1000, none, false, approle},
		{10_000, none, false, approle},
		{20, lan, false, approle},
		{20, zone, false, approle},
		{20, far, false, approle},
		{100, zone, false, approle},
		{20, none, true, approle},
		{20, none, false, kubernetes},
		{1, lan, true, kubernetes},
		{20, zone, true, kubernetes},
		{100, lan, true, approle},
		{1, far, true, approle},
		{1000, lan, true, kubernetes},
		{1, none, false, given},
		{20, none, false, given},
		{100, none, false, given},
		{20, zone, false, given},
		{20, far, false, given},
		{100, zone, true, given},
	}
}

// axes is what the flags say of each dimension; "" is for nothing.
type axes struct{ secrets, rtts, tls, auths string }

// points gives the product of the dimensions, those that no flag speaks of at
// their usual levels; the design when no flag speaks of any.
func (a axes) points() ([]point, error) {
	if a == (axes{}) {
		return design(), nil
	}
	secrets, err1 := list("-secrets", cmp.Or(a.secrets, "1,20,100,1000"), "a number from 1", func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		return n, errors.Join(err, positive(n))
	})
	rtts, err2 := list("-rtt", cmp.Or(a.rtts, "0,10ms"), "a time such as 10ms", func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(s)
		return d, errors.Join(err, positive(d+1))
	})
	tls, err3 := list("-tls", cmp.Or(a.tls, "off"), "on or off", oneOf("off", "on"))
	auths, err4 := list("-auth", cmp.Or(a.auths, approle), approle+", "+kubernetes+" or "+given, oneOf(approle, kubernetes, given))
	var all []point
	for _, auth := range auths {
		for _, wire := range tls {
			for _, rtt := range rtts {
				for _, n := range secrets {
					all = append(all, point{n, rtt, wire == "on", auth})
				}
			}
		}
	}
	return all, errors.Join(err1, err2, err3, err4)
}

// list reads a flag that is a list.
func list[T any](flag, text, what string, read func(string) (T, error)) ([]T, error) {
	var all []T
	for s := range strings.SplitSeq(text, ",") {
		v, err := read(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %q is not %s", flag, s, what)
		}
		all = append(all, v)
	}
	return all, nil
}

func positive[T ~int | ~int64](n T) error {
	if n < 1 {
		return errors.New("not positive")
	}
	return nil
}

func oneOf(words ...string) func(string) (string, error) {
	return func(s string) (string, error) {
		if !slices.Contains(words, s) {
			return "", errors.New("no such word")
		}
		return s, nil
	}
}

// most gives the largest number of secrets.
func most(points []point) int {
	return slices.MaxFunc(points, func(a, b point) int { return cmp.Compare(a.n, b.n) }).n
}

// needs reports whether any cell is so.
func needs(points []point, so func(point) bool) bool { return slices.ContainsFunc(points, so) }
