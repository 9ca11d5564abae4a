"""Every parser of ours, fed with what nobody would send: a clean result, or an error of ours."""
