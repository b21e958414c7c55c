package plan

import (
	"errors"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
)

// maxSocketPath is what fits in sun_path with its NUL (unix(7)).
const maxSocketPath = 107

// SplitListen reads where to listen, for net.Listen: HOST:PORT, [HOST]:PORT for
// IPv6 or unix:PATH. HOST is an IP address, localhost, or nothing, which is every
// address; a name would have to be looked up. Port 0 lets the kernel choose. PATH is
// absolute. localhost is 127.0.0.1. The text is no secret, and the error repeats none of it.
func SplitListen(s string) (network, address string, err error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return splitSocket(path)
	}
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", "", errors.New("must be HOST:PORT or unix:PATH")
	}
	host, port := s[:i], s[i+1:]
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || port != strconv.FormatUint(n, 10) {
		return "", "", errors.New("the port must be a number from 0 to 65535")
	}
	switch inner, bracketed := strings.CutPrefix(host, "["); {
	case host == "":
		return "tcp", s, nil
	case host == "localhost":
		return "tcp", "127.0.0.1:" + port, nil
	case bracketed:
		host, bracketed = strings.CutSuffix(inner, "]")
		if ip, err := netip.ParseAddr(host); bracketed && err == nil && ip.Is6() {
			return "tcp", s, nil
		}
	default:
		if ip, err := netip.ParseAddr(host); err == nil && ip.Is4() {
			return "tcp", s, nil
		}
	}
	return "", "", errors.New("the host must be an IP address (IPv6 in brackets), localhost, or left out for every address")
}

func splitSocket(path string) (network, address string, err error) {
	switch {
	case !filepath.IsAbs(path):
		return "", "", errors.New("the path of a socket must be absolute")
	case strings.ContainsFunc(path, isControl):
		return "", "", errors.New("the path of a socket has a control character")
	}
	path = filepath.Clean(path)
	if len(path) > maxSocketPath {
		return "", "", errors.New("the path of a socket may have " + strconv.Itoa(maxSocketPath) + " bytes at most")
	}
	return "unix", path, nil
}

// SplitExitWith reads what to end with: digits alone are the number of a process,
// anything else the absolute path of a file. The error repeats none of it.
func SplitExitWith(s string) (pid int, path string, err error) {
	if s != "" && strings.Trim(s, "0123456789") == "" {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil || n < 1 {
			return 0, "", errors.New("the number of a process is from 1 to 2147483647")
		}
		return int(n), "", nil
	}
	if !filepath.IsAbs(s) {
		return 0, "", errors.New("must be the number of a process or the absolute path of a file")
	}
	return 0, filepath.Clean(s), nil
}
