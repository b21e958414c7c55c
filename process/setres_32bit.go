//go:build 386 || arm

package process

import "golang.org/x/sys/unix"

// The old calls of these machines cut an id to 16 bits.
const (
	sysSetresuid = unix.SYS_SETRESUID32
	sysSetresgid = unix.SYS_SETRESGID32
)
