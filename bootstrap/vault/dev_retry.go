package vault

import "time"

// RetryAfter is never said by a file.
func (*Dev) RetryAfter(error) time.Duration { return 0 }
