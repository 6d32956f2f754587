"""At test time: sample, verify on the shown test, refine from what it said or a person says, in turns."""
