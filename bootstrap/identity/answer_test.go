package identity

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestExpiresAt(t *testing.T) {
	tests := []struct {
		name, jwt string
		want      string // RFC 3339; "": none
	}{
		{"whole", token(`{"exp":1800000000}`), "2027-01-15T08:00:00Z"},
		{"line break behind", token(`{"exp":1800000000}`) + "\n", "2027-01-15T08:00:00Z"},
		{"fraction", token(`{"exp":1800000000.9}`), "2027-01-15T08:00:00Z"},
		{"exponent", token(`{"exp":1.8e9}`), "2027-01-15T08:00:00Z"},
		{"year 9999", token(`{"exp":253402300799}`), "9999-12-31T23:59:59Z"},
		{"too late", token(`{"exp":253402300800}`), ""},
		{"huge", token(`{"exp":1e400}`), ""},
		{"negative", token(`{"exp":-1}`), ""},
		{"none", token(`{}`), ""},
		{"null", token(`{"exp":null}`), ""},
		{"text", token(`{"exp":"soon"}`), ""},
		{"no object", token(`[1800000000]`), ""},
		{"two parts", strings.Join(strings.Split(token(`{"exp":1800000000}`), ".")[:2], "."), ""},
		{"four parts", token(`{"exp":1800000000}`) + ".e30", ""},
		{"unsigned", strings.TrimRight(token(`{"exp":1800000000}`), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"), ""},
		{"padded", "e30=." + base64.URLEncoding.EncodeToString([]byte(`{"exp":1800000000}`)) + ".eA==", ""},
		{"Vault's token", "hvs." + canary, ""},
		{"nothing", "", ""},
	}
	for _, tt := range tests {
		got, ok := ExpiresAt([]byte(tt.jwt))
		text := ""
		if ok {
			text = got.Format(time.RFC3339)
		}
		if text != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, text, tt.want)
		}
	}
}

func TestClaimsOf(t *testing.T) {
	for aud, want := range map[string][]string{`"one"`: {"one"}, `["one","two"]`: {"one", "two"}, `[]`: {}} {
		c, ok := ClaimsOf([]byte(token(`{"iss":"https://i","sub":"repo:o/r:ref:refs/heads/main","aud":` + aud + `}`)))
		if !ok || c.Issuer != "https://i" || c.Subject != "repo:o/r:ref:refs/heads/main" || !slices.Equal(c.Audience, want) {
			t.Errorf("%s: %+v, %v", aud, c, ok)
		}
	}
	for _, text := range []string{"s.abc", token(`{"aud":7}`)} {
		if c, ok := ClaimsOf([]byte(text)); ok {
			t.Errorf("what is no token claims %+v", c)
		}
	}
}

// FuzzClaims: whatever a token file holds, nothing panics, and a time that is
// given can be written and read.
func FuzzClaims(f *testing.F) {
	f.Add([]byte(token(`{"exp":1800000000,"iss":"i","sub":"s"}`)))
	f.Add([]byte("a.b.c"))
	f.Fuzz(func(t *testing.T, jwt []byte) {
		at, ok := ExpiresAt(jwt)
		_, is := ClaimsOf(jwt)
		if ok && !is {
			t.Error("an end without a token")
		}
		if ok {
			if _, err := time.Parse(time.RFC3339, at.Format(time.RFC3339)); err != nil {
				t.Error(err)
			}
		}
	})
}
