// Command hello is the least that a Go program does which becomes another one:
// it says hello and replaces itself with the command that it is given.
package main

import (
	"fmt"
	"os"
	"syscall"
)

func main() { // hello COMMAND [ARG…]
	fmt.Println("hello, world")
	fmt.Fprintln(os.Stderr, "hello:", syscall.Exec(os.Args[1], os.Args[1:], os.Environ()))
	os.Exit(1)
}
