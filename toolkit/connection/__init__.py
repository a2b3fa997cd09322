"""SSH to boards, over fabric: strict host keys, one sudo prompt, time limits everywhere."""
