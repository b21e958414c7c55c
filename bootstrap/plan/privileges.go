package plan

import (
	"slices"
	"strings"
	"unicode"
)

// SplitUser reads uid[:gid]; each of the two is a number or a name. Whether it
// is known is for the machine to say.
func SplitUser(s string) (user, group string, ok bool) {
	user, group, both := strings.Cut(s, ":")
	name := func(s string) bool {
		return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r == ':' || unicode.IsSpace(r) || isControl(r) })
	}
	return user, group, name(user) && (!both || name(group))
}

// AllCapabilities stands for every capability, in any case of letters.
const AllCapabilities = "all"

// CapabilityNames lists the capabilities of Linux without CAP_, each at the
// index that is its number (capabilities(7), include/uapi/linux/capability.h).
func CapabilityNames() []string {
	return []string{
		"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
		"NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO",
		"SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME",
		"SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
		"WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
	}
}

// ParseCapability reads the name of a capability, with or without CAP_ and in
// any case of letters, or AllCapabilities.
func ParseCapability(s string) (string, bool) {
	if strings.EqualFold(s, AllCapabilities) {
		return AllCapabilities, true
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "CAP_")
	return name, slices.Contains(CapabilityNames(), name)
}

// CapabilityBits gives a bit for each capability of a list that CapDrop can be,
// by its number; for AllCapabilities every bit.
func CapabilityBits(list []string) uint64 {
	var bits uint64
	for _, name := range list {
		if name == AllCapabilities {
			return ^uint64(0)
		}
		if n := slices.Index(CapabilityNames(), name); n >= 0 {
			bits |= 1 << n
		}
	}
	return bits
}
