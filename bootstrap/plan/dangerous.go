package plan

import (
	"slices"
	"strings"
)

const (
	whyDangerous = "it changes which code programs run or whom they talk to, and whoever writes the secret would decide it"
	fixDangerous = "give it another name (in a set: a prefix, or an allow list), or set run.dangerous_env (--dangerous-env)"
)

// isDangerous knows the variables by which whoever sets them has his own code
// run, or listens in: the dynamic linker's (ld.so(8), secure-execution mode),
// those of shells, of common interpreters and tools, and the proxies'.
func isDangerous(name string) bool {
	for _, prefix := range []string{"LD_", "DYLD_", "BASH_FUNC_", "GIT_", "CORECLR_", "COR_", "LUA_INIT", "npm_config_", "NPM_CONFIG_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains([]string{
		"PATH", "IFS", "ENV", "BASH_ENV", "SHELLOPTS", "BASHOPTS", "PS4", "PROMPT_COMMAND", "ZDOTDIR", "HOME", "SHELL",
		"GLIBC_TUNABLES", "GCONV_PATH", "HOSTALIASES", "RESOLV_HOST_CONF", "LOCPATH", "MALLOC_TRACE", "NLSPATH", "OPENSSL_CONF", "OPENSSL_MODULES", "SSL_CERT_FILE", "SSL_CERT_DIR",
		"PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONUSERBASE", "PYTHONBREAKPOINT", "PERL5LIB", "PERL5OPT", "PERL5DB", "PERLLIB", "RUBYLIB", "RUBYOPT",
		"NODE_OPTIONS", "NODE_PATH", "NODE_EXTRA_CA_CERTS", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH", "DOTNET_STARTUP_HOOKS", "ERL_AFLAGS", "ERL_FLAGS", "ERL_ZFLAGS",
		"PHPRC", "PHP_INI_SCAN_DIR", "RUSTC_WRAPPER", "MAKEFLAGS", "EDITOR", "VISUAL", "PAGER", "BROWSER", "LESSOPEN", "LESSCLOSE", "SSH_ASKPASS", "KUBECONFIG",
	}, name) || strings.HasSuffix(strings.ToUpper(name), "_PROXY")
}
