package plan

import (
	"strings"
	"testing"
)

func TestParseRate(t *testing.T) {
	for s, want := range map[string]Rate{
		"10": {10, 10}, "10:20": {10, 20}, "0.5": {0.5, 1}, "2.5": {2.5, 3}, "0.5:7": {0.5, 7}, ".5": {0.5, 1}, "1000000:1": {1e6, 1},
	} {
		got, err := ParseRate(s)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
		if again, err := ParseRate(got.String()); err != nil || again != got {
			t.Errorf("%s: %s gives %v, %v", s, got, again, err)
		}
	}
	for _, s := range []string{
		"", "0", "0:1", "-1", "+1", "inf", "NaN", "0x10", "1e3", "10:", "10:0", "10:-1", "10:1.5", ":5", "10:20:30", "10/s", " 10", "1000001", "1:1000001",
		"1:99999999999999999999", ".",
	} {
		if got, err := ParseRate(s); err == nil || len(s) > 5 && strings.Contains(err.Error(), s) {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{
		"16MiB": 16 << 20, "512KiB": 512 << 10, "1GiB": 1 << 30, "1024": 1024, "1KiB": 1024, "1073741824": 1 << 30, "1048576KiB": 1 << 30,
	} {
		if got, err := ParseSize(s); err != nil || got != want {
			t.Errorf("%s: %d, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "0", "1023", "0KiB", "1073741825", "2GiB", "1048577KiB", "-1MiB", "+1MiB", "16MB", "16mib", "16 MiB", "1.5MiB", "MiB", "1MiBKiB",
		"2147483647GiB", "99999999999999999999", "0x10MiB",
	} {
		if got, err := ParseSize(s); err == nil {
			t.Errorf("%q: %d", s, got)
		}
	}
}

func TestCheckHeader(t *testing.T) {
	for _, s := range []string{"Authorization", "x-team", "CF-Access-Client-Id", "a!#$%&'*+-.^_`|~9", "X-Vault-Index"} {
		if err := CheckHeader(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	for s, why := range map[string]string{
		"": "no name", "a b": "no name", "a:": "no name", "a\n": "no name", "é": "no name", "(a)": "no name", "a\x00": "no name", `"a"`: "no name",
		"Host": "itself", "content-length": "itself", "TRANSFER-ENCODING": "itself", "Connection": "itself",
		"X-Vault-Token": "itself", "x-vault-namespace": "itself", "X-Vault-Request": "itself",
	} {
		if err := CheckHeader(s); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestParseRedirectHost(t *testing.T) {
	for s, want := range map[string]string{
		"vault-1": "vault-1", "Vault-1.Example": "vault-1.example", "vault:8200": "vault:8200", "*.vault.example": "*.vault.example", "*.svc": "*.svc", "*.svc:8200": "*.svc:8200",
		"10.0.0.1": "10.0.0.1", "10.0.0.1:443": "10.0.0.1:443", "[::1]": "[::1]", "[FD00::1]:8200": "[fd00::1]:8200", "my_host.internal": "my_host.internal",
	} {
		if got, err := ParseRedirectHost(s); err != nil || got != want {
			t.Errorf("%s: %q, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "*", "*.", "*.*.a", "a.*", "*a", "*.a:", "*.10.0.0.1", "*.[::1]", "https://a", "a/b", "a:", "a:0", "a:65536", "a:x", ":80", "::1", "[::1", "[a]", "[10.0.0.1]", "a b",
		"u@a", "a?b", "a#b", "a..b", ".a", "a.", "%41", "a\n", strings.Repeat("a", 64), strings.Repeat("a.", 130) + "a", "ä.example",
	} {
		if got, err := ParseRedirectHost(s); err == nil {
			t.Errorf("%q: %q", s, got)
		}
	}
}
