package plan

import "strings"

// CI is a system that runs jobs.
type CI uint8

// The systems. CIAuto is the one that we find ourselves in.
const (
	CIAuto CI = iota
	CIGitHub
	CIGitLab
)

// CINames lists the names that ParseCI knows.
func CINames() []string { return []string{"auto", "github", "gitlab"} }

// ParseCI reads the name of a system.
func ParseCI(s string) (CI, bool) {
	i, ok := position(s, CINames())
	return CI(i), ok
}

// String gives auto, github or gitlab.
func (c CI) String() string { return nth(int(c), CINames()...) }

// Where variables go: to the later steps of a GitHub job, or to its outputs. What
// begins with CIExportFile goes to a file among those that are delivered.
const (
	CIExportEnv    = "env"
	CIExportOutput = "output"
	CIExportFile   = "file:"
)

// CIExportNames lists what ParseCIExport knows.
func CIExportNames() []string { return []string{CIExportEnv, CIExportOutput, CIExportFile + "PATH"} }

// ParseCIExport reads where variables go: env, output or file:PATH.
func ParseCIExport(s string) (string, bool) {
	path, isFile := strings.CutPrefix(s, CIExportFile)
	return s, s == CIExportEnv || s == CIExportOutput || isFile && path != ""
}
