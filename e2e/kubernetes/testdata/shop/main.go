// Command shop stands for an application in the cluster's pods, and for what a
// cluster has beside them. Its files are those of the folder SECRETS, or
// /run/secrets. It prints what it sees of them, and never a value: mode, owner,
// name and the first half of the SHA-256 hash.
//
//	shop              look, then again at each change, until SIGTERM
//	shop once [FILE]  look, create the file, and end
//	shop env NAME…    the hashes of variables, then as without words
//	shop eat          take memory until the kernel has enough of it
//	shop fill DIR     put 8 MiB there, then as without words
//	shop pause        a pod's first container: reap until SIGTERM
//	shop reap         process 1 of the cluster: the same until standard input ends
//	shop dns NAME IP  answer queries for NAME, on port 53
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	words := append(os.Args[1:], "")
	switch words[0] {
	case "pause":
		pause()
	case "reap":
		go func() { _, _ = io.Copy(io.Discard, os.Stdin); os.Exit(0) }()
		pause()
	case "dns":
		fmt.Println(dns(os.Args[2], net.ParseIP(os.Args[3]).To4()))
		os.Exit(1)
	case "once":
		fmt.Print(look(folder()))
		if words[1] != "" {
			fmt.Print(touch(words[1]))
		}
	case "eat":
		fmt.Print(look(folder()))
		eat()
	case "fill":
		fmt.Println(os.WriteFile(os.Args[2]+"/full", make([]byte, 8<<20), 0o600))
		serve()
	case "env":
		for _, name := range os.Args[2:] {
			fmt.Println(name, hash([]byte(os.Getenv(name))))
		}
		serve()
	default:
		serve()
	}
}

// touch creates a file, and says why it could not.
func touch(path string) string {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return fmt.Sprintln(err)
	}
	return ""
}

func folder() string {
	if dir := os.Getenv("SECRETS"); dir != "" {
		return dir
	}
	return "/run/secrets"
}

// serve looks until it is told to end.
func serve() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	last := ""
	for {
		if now := look(folder()); now != last {
			fmt.Print(now)
			last = now
		}
		select {
		case <-end:
			fmt.Println("end")
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// look describes the files of a folder, one line for each.
func look(dir string) string {
	var b strings.Builder
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Sprintln(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue // the staging area and the marker
		}
		path := filepath.Join(dir, e.Name())
		text, err := os.ReadFile(path)
		var st syscall.Stat_t
		if err == nil {
			err = syscall.Stat(path, &st)
		}
		if err != nil {
			fmt.Fprintln(&b, err)
			continue
		}
		fmt.Fprintf(&b, "%#o %d:%d %s %s\n", st.Mode&0o7777, st.Uid, st.Gid, e.Name(), hash(text))
	}
	return b.String()
}

func hash(text []byte) string { return fmt.Sprintf("%x", sha256.Sum256(text))[:32] }

// eat takes memory, and touches it.
func eat() {
	var all [][]byte
	for {
		b := make([]byte, 1<<20)
		for i := range b {
			b[i] = 1
		}
		all = append(all, b)
		if len(all)%64 == 0 {
			fmt.Println(len(all), "MiB")
		}
	}
}

// pause holds a pod's namespaces open, and reaps.
func pause() {
	c := make(chan os.Signal, 8)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for s := range c {
		if s != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}

// dns answers queries for one name with one address, RFC 1035; no other name exists.
func dns(name string, ip net.IP) error {
	conn, err := net.ListenPacket("udp", ip.String()+":53")
	if err != nil {
		return err
	}
	query := make([]byte, 512)
	for {
		n, from, err := conn.ReadFrom(query)
		if err != nil {
			return err
		}
		if n > 12 {
			_, _ = conn.WriteTo(answer(query[:n], name, ip), from)
		}
	}
}

func answer(query []byte, name string, ip net.IP) []byte {
	i, labels := 12, []string{}
	for i < len(query) && query[i] != 0 && i+1+int(query[i]) < len(query) {
		labels = append(labels, string(query[i+1:i+1+int(query[i])]))
		i += 1 + int(query[i])
	}
	if i+5 > len(query) {
		return nil
	}
	known := strings.EqualFold(strings.Join(labels, "."), name)
	isA := query[i+1] == 0 && query[i+2] == 1
	a := append([]byte{}, query[:i+5]...)
	a[2], a[3] = 0x85, 0x80                     // an authoritative answer
	copy(a[4:], []byte{0, 1, 0, 0, 0, 0, 0, 0}) // one question, no answer
	switch {
	case !known:
		a[3] |= 3 // NXDOMAIN
	case isA:
		a[7] = 1
		a = append(append(a, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4), ip...)
	}
	return a
}
