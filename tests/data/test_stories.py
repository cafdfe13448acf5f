"""Files of bAbI: what is read from them, and what is refused; their questions as numbers and in batches."""

import numpy as np
import pytest
from small_qa import lines_of

from minattn.data import Vocabulary
from minattn.data.qa.batches import EncodedStories, StoryBatches, evaluation_stories
from minattn.data.qa.simulated import simulate
from minattn.data.qa.stories import Stories, read_babi, read_babi_folder
from minattn.errors import DataError

TEXT = """\
1 Mary moved to the bathroom.
2 John went to the hallway.
3 Where is Mary? \tbathroom\t1
4 Mary got the milk there.
5 What is Mary carrying? \tmilk,apple\t4 1
1 The office is north of the kitchen.
2 What is north of the kitchen?\toffice\t1
"""


@pytest.fixture
def file(tmp_path):
    def write(text, name="qa7_counting_train.txt"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


# ---------------------------------------------------------------------------------------------- files
def test_a_file_is_questions_with_the_sentences_before_them(file):
    first, second, third = read_babi(file(TEXT))
    mary, john = ("mary", "moved", "to", "the", "bathroom"), ("john", "went", "to", "the", "hallway")
    assert first.story == (mary, john)
    assert (first.task, first.words, first.answer, first.facts) == (7, ("where", "is", "mary"), "bathroom", (0,))
    assert second.story == (mary, john, ("mary", "got", "the", "milk", "there"))
    assert (second.answer, second.facts) == ("milk,apple", (2, 0))
    assert third.story == (("the", "office", "is", "north", "of", "the", "kitchen"),)


def test_what_is_written_is_read_again(file):
    stories = simulate(2, 20, 3)
    again = read_babi(file(lines_of(stories), "qa2_x_test.txt"))
    assert again.questions == stories.questions
    assert again.fingerprint() == stories.fingerprint()
    assert Stories(stories.questions[:-1]).fingerprint() != stories.fingerprint()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Mary moved.\n", r"line 1: 'Mary moved.' is no numbered sentence; hint"),
        ("1 Mary moved.\n2\n", r"line 2: '2' is no numbered sentence; hint"),
        ("² Mary moved.\n", r"line 1: '² Mary moved.' is no numbered sentence; hint"),
        (f"{'9' * 5000} Mary moved.\n", r"line 1: '9{60}' is no numbered sentence; hint"),
        ("1 Mary moved.\n3 John moved.\n", r"line 2: number 3 does not follow the one before; hint"),
        ("2 Mary moved.\n", r"line 1: number 2 does not follow the one before; hint"),
        ("1 Mary moved.\n2 Where?\t\t1\n", r"line 2: the question 'Where\?' has no answer; hint"),
        ("1 Mary moved.\n2 Where?\tthere\tfirst\n", r"line 2: behind the answer stands 'first'"),
        ("1 Mary moved.\n2 Where?\tthere\t²\n", r"line 2: behind the answer stands '²'"),
        ("1 Mary moved.\n2 Where?\tthere\t2\n", r"line 2: behind the answer stands '2'"),
        ("1 Mary moved.\n2 Where?\tthere\t1\t1\n", r"line 2: behind the answer stands '1 1'"),
        ("1 Mary moved.\n2 John moved.\n", r"has no question; hint"),
        ("", r"has no question; hint"),
    ],
)
def test_lines_of_another_form_are_refused_by_their_number(file, text, message):
    with pytest.raises(DataError, match=message):
        read_babi(file(text))


def test_a_folder_is_its_tasks_with_a_tenth_held_out(tmp_path, file):
    for task in (1, 12):
        for part, seed in (("train", 0), ("test", 1)):
            file(lines_of(simulate(task, 40, seed)), f"qa{task}_some-words_{part}.txt")
    splits = read_babi_folder(tmp_path)
    assert [len(part) for part in splits] == [72, 8, 80]
    assert [part.tasks for part in splits] == [[1, 12]] * 3
    assert splits.dev.of_task(12).questions == simulate(12, 40, 0).questions[36:]
    assert len(read_babi_folder(tmp_path, 12).test) == 40
    with pytest.raises(DataError, match=r"has no test and no train file of task 3; hint: it has tasks 1, 12"):
        read_babi_folder(tmp_path, 3)
    (tmp_path / "qa1_some-words_test.txt").unlink()
    with pytest.raises(DataError, match="has no test file of task 1; hint"):
        read_babi_folder(tmp_path)


def test_two_files_of_a_task_in_a_folder_are_refused(tmp_path, file):
    for name in ("one", "two"):
        for part in ("train", "test"):
            file(TEXT, f"qa7_{name}_{part}.txt")
    with pytest.raises(DataError, match=r"has qa7_one_test.txt and qa7_two_test.txt for task 7; hint"):
        read_babi_folder(tmp_path)


def test_a_folder_without_files_is_refused(tmp_path):
    with pytest.raises(DataError, match="has no files of bAbI; hint"):
        read_babi_folder(tmp_path)


# ---------------------------------------------------------------------------------------------- numbers and batches
def encoded(stories, memory=5):
    words = {word for q in stories for sentence in (*q.story, q.words, (q.answer,)) for word in sentence}
    vocabulary = Vocabulary(sorted(words))
    return EncodedStories.of(stories, vocabulary, memory), vocabulary


def test_a_batch_has_the_last_sentences_of_each_story_the_most_recent_first():
    stories = simulate(2, 12, 0)
    numbers, words = encoded(stories)
    rows = np.array([7, 0, 11])
    batch = numbers.batch(rows)
    assert len(numbers) == 12
    for i, row in enumerate(rows):
        question = stories.questions[row]
        recent = question.story[::-1][:5]
        assert batch.story[i].any(-1).sum() == len(recent)
        for sentence, found in zip(recent, batch.story[i], strict=False):
            assert tuple(words.decode(found[found != 0])) == sentence
        assert not batch.story[i, len(recent) :].any()
        assert tuple(words.decode(batch.question[i])) == question.words
        assert words.decode([batch.answer[i]]) == [question.answer]
    parts = batch._replace(linear=True).split(2)
    assert [len(part.answer) for part, _ in parts] == [2, 1]
    assert all(part.linear for part, _ in parts)


def test_every_question_comes_once_in_an_epoch_and_the_first_epochs_are_linear():
    numbers, _ = encoded(simulate(1, 25, 0))
    batches = StoryBatches(numbers, 8, seed=1, linear_epochs=2)
    assert len(batches) == 4
    for epoch in range(3):
        found = list(batches.iterate(epoch))
        assert {batch.linear for batch in found} == {epoch < 2}
        assert sorted(np.concatenate([batch.answer for batch in found])) == sorted(numbers.answers)
    again = next(iter(batches.iterate(2, start=3)))
    np.testing.assert_array_equal(again.story, found[3].story)


def test_a_batch_is_changed_by_its_own_generator():
    numbers, _ = encoded(simulate(1, 25, 0))
    seen = []
    batches = StoryBatches(numbers, 8, seed=1, change=lambda batch, rng: seen.append(rng.random()) or batch)
    list(batches.iterate(0))
    list(batches.iterate(0, start=2))
    assert seen[4:] == seen[2:4]
    assert len(set(seen)) == 4


def test_all_questions_are_scored_in_their_order():
    numbers, _ = encoded(simulate(2, 30, 0), memory=50)
    parts = list(evaluation_stories(numbers, 8))
    assert np.concatenate([rows for rows, _ in parts]).tolist() == list(range(30))
    np.testing.assert_array_equal(np.concatenate([batch.answer for _, batch in parts]), numbers.answers)
