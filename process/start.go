package process

import (
	"fmt"
	"runtime"
	"syscall"
)

// start forks and executes from the calling thread, from which the child
// inherits all but the ids and what attr says.
func (s Spec) start(attr *syscall.ProcAttr) (pid int, err error) {
	err = s.withCore(func() error {
		return keepDumpable(func() error {
			pid, err = syscall.ForkExec(s.Path, s.Argv, attr)
			return err
		})
	})
	return pid, err
}

// fork starts the child with its privileges. What it shall not have is taken
// from a thread that is there for this alone, so that we keep it, and so does
// whatever else we start. That thread lives until ended is closed: the child's
// parent-death signal would come when it ends (PR_SET_PDEATHSIG in prctl(2)).
func (s Spec) fork(attr *syscall.ProcAttr, ended <-chan struct{}) (pid int, err error) {
	p := s.Privileges
	p.ownOutput(attr.Files...)
	attr.Sys.Credential = p.credential()
	if !p.confines() {
		return s.start(attr)
	}
	confined := func() error {
		if err := p.confine(); err != nil {
			return err
		}
		n, err := s.start(attr)
		pid = n
		return err
	}
	if s.Here {
		runtime.LockOSThread()
		err = confined()
		return pid, err
	}
	started := make(chan error, 1)
	aside(func() {
		failed := confined()
		started <- failed
		if failed == nil {
			<-ended
		}
	})
	err = <-started
	return pid, err
}

// Replace turns this process into the command. It returns only on failure; what
// it had to take from the thread it did it on is lost with that thread then,
// unless s.Here says that it must be the calling one.
func Replace(s Spec) error {
	if err := s.share(); err != nil {
		return err
	}
	s.Privileges.ownOutput(0, 1, 2)
	become := func() error {
		if err := s.Privileges.confine(); err != nil {
			return err
		}
		if err := s.Privileges.become(); err != nil {
			return err
		}
		return s.withCore(func() error {
			if err := syscall.Exec(s.Path, s.Argv, s.Env); err != nil {
				return fmt.Errorf("execve: %w", err)
			}
			return nil
		})
	}
	if s.Here {
		runtime.LockOSThread()
		return become()
	}
	if !s.Privileges.confines() && !s.Privileges.sets() {
		return become()
	}
	return onThread(become)
}
